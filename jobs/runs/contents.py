"""What the files and folders of a run hold, for people."""

from __future__ import annotations

__all__ = ["CONTENTS"]

CONTENTS = {
    "config.yaml": "every field of its config",
    "run.json": "its state",
    "origin.json": "packages, commit and command that it began with",
    "changes.patch": "changes to the commit",
    "metrics.jsonl": "figures of each epoch",
    "alive.json": "when its process was heard of last",
    "progress.json": "the last step that it reported",
    "job.log": "log of the service's job",
    "stage.json": "what the stage left, for its pipeline",
    "model": "the trained model",
    "failures": "tracebacks of attempts that failed",
    "checkpoints": "what it is resumed from",
    "store": "its map store",
    "preview": "maps of some images after each epoch",
    "cues": "what segmentation networks learn from, as PNGs",
    "maps": "attention maps",
    "masks": "predicted masks as PNGs",
    "predictions.parquet": "probabilities of each image",
    "parts": "the same of the images that are done, until all are",
    "scores.json": "scores with their protocols",
    "per_class.csv": "scores of each class",
    "curves.png": "scores by threshold",
    "sheet.png": "some images with their maps or masks",
    "panels": "each of these images by itself",
    "comparison.png": "the same images by several models or stores",
    "grid.csv": "quality of cues at a grid of thresholds",
    "grid.png": "the same as a heat map",
    "growth": "how the maps of some images grew",
    "results": "masks for VOC's evaluation server",
    "base.yaml": "config of the run that it searches",
    "sweep.yaml": "config of the sweep",
    "best.yaml": "config of the best trial",
    "objective.json": "the scores that the sweep compares, with their protocols",
    "trials.csv": "a row for each trial",
    "trials.json": "the same as JSON",
    "space.png": "score by searched field",
    "space.html": "the trials as a table that sorts by any column",
    "tune": "Ray Tune's own files",
    "tracking": "what MLflow was not sent yet",
}
"""By name."""
