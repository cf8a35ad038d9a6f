"""The table of OAA in docs/results/oaa.md: CAM, OAA by mean and by maximum, OAA+ with both losses, by seeds.

    python -m benchmarks.oaa scenes      OUT.json [a.b=value ...]
    python -m benchmarks.oaa photographs OUT.json data.root=... model.weights=... [a.b=value ...]

Per seed: `oaa` with `store.fusion=max`, whose final model gives the CAM; the same again with `store.fusion=mean`; and
`oaa_plus` on the store of the first, with the hybrid and with the plain loss. Stored maps are scored on the training
images, for which alone they exist, models on both splits. OAA+ is scored by both of its map kinds. On the training
images stands also the mIoU of the cues that OAA's own rule makes of the maps and of the data's saliency.

Every run is a run like any other, under `root`; a run that is there already is not repeated, so that an interrupted
benchmark goes on where it was. Each score is added to OUT.json, from which the table is printed. `seeds=0,1` and
`rows=CAM,OAA (max)` after OUT.json do only those.
"""

from __future__ import annotations

__all__ = ["STUDIES", "Row", "main", "table"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.runs.recipes import load_config
from attn.segmentation.config import SegmentConfig
from attn.training.train_config import TrainConfig
from benchmarks.study import SEEDS, chosen_rows, finished_run, study_command
from benchmarks.tables import score_lines
from jobs import cues, evaluate
from jobs.cues import CuesJob
from jobs.ray_cluster.session import ray_session
from jobs.train import TrainResult

COLUMNS = {"seed_miou": "seed mIoU", "coverage": "coverage", "precision": "precision", "energy": "energy",
           "cue_miou": "cues, mIoU", "cue_miou_all": "with open pixels as missed"}  # fmt: skip
STUDIES = {"scenes": "scenes_oaa", "photographs": "oaa"}
"""The recipe of each; that of OAA+ has `_plus` behind it."""
OF_CUES = {"scenes_oaa": "segment_scenes", "oaa": "cross_entropy"}
"""The recipe whose cues are made, by OAA's recipe."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        run: Whose maps are scored, by the end of its name.
        stored: The maps of its store, not those of its model.
        options: Of the evaluation.
    """

    title: str
    run: str
    splits: tuple[str, ...] = ("train", "val")
    stored: bool = False
    options: tuple[str, ...] = ()


ROWS = (
    Row("CAM", "max"),
    Row("OAA (mean)", "mean", ("train",), stored=True),
    Row("OAA (max)", "max", ("train",), stored=True),
    Row("OAA+ (hybrid)", "hybrid"),
    Row("OAA+ (hybrid), q", "hybrid", options=("map_kind=integral",)),
    Row("OAA+ (plain)", "mce"),
    Row("OAA+ (plain), q", "mce", options=("map_kind=integral",)),
)


def main(recipe: str, out: Path, overrides: list[str], seeds: Sequence[int] = SEEDS, rows: Sequence[str] = ()) -> None:
    """Train and score what is missing in OUT, and print the table."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    by_title = {row.title: row for row in ROWS}
    chosen = [by_title[title] for title in chosen_rows(rows, by_title)]
    with ray_session():
        for seed in seeds:
            runs = _runs(recipe, [*overrides, f"seed={seed}"], seed, {row.run for row in chosen})
            for row in chosen:
                for split in row.splits:
                    name = f"{row.title} {split} seed {seed}"
                    if name not in done:
                        scores = _score(row, split, runs[row.run])
                        if split == "train":
                            scores = scores | _cue_scores(row, runs[row.run], OF_CUES[recipe], overrides)
                        done[name] = {"title": row.title, "split": split, "seed": seed, "scores": scores}
                        out.write_text(json.dumps(done, indent=1))
            print(table(done), flush=True)


def _runs(recipe: str, overrides: list[str], seed: int, wanted: set[str]) -> dict[str, TrainResult]:
    """The finished runs of a seed that are wanted, by the end of their names; OAA+ needs OAA by the maximum."""
    runs: dict[str, TrainResult] = {}
    for fusion in (*({"max"} if wanted - {"mean"} else ()), *({"mean"} & wanted)):
        config = load_config(TrainConfig, recipe, [*overrides, f"store.fusion={fusion}"])
        runs[fusion] = finished_run(config, f"{recipe}-{fusion}-seed{seed}")
    for loss in sorted({"hybrid", "mce"} & wanted):
        maps = f"method.maps={runs['max'].store}"
        config = load_config(TrainConfig, f"{recipe}_plus", [*overrides, maps, f"method.integral_loss={loss}"])
        runs[loss] = finished_run(config, f"{recipe}_plus-{loss}-seed{seed}")
    return runs


def _score(row: Row, split: str, run: TrainResult) -> dict[str, float]:
    target = f"{run.store}@{run.store_version}" if row.stored else run.model
    options = [f"root={run.folder.rpartition('/')[0]}", "panels=4", f"data.split={split}", *row.options]
    return evaluate.run(evaluate.load(target, options)).scores


def _cue_scores(row: Row, run: TrainResult, recipe: str, overrides: list[str]) -> dict[str, float]:
    """Scores of the cues that OAA's rule makes (0.3 of a map's range, and 0.125 of saliency)."""
    maps = {"source": "store", "uri": run.store, "version": run.store_version} if row.stored else {"model": run.model}
    config = load_config(
        SegmentConfig,
        recipe,
        [
            *(text for text in overrides if text.startswith("data.")),
            f"root={run.folder.rpartition('/')[0]}",
            f"labels.maps={json.dumps({'source': 'model'} | maps)}",
            *(f"labels.maps.{option}" for option in row.options),
            "labels.rule={name: oaa}",
            "labels.saliency=given",
        ],
    )
    quality = cues.run(CuesJob(config)).report.quality
    assert quality is not None, "the training images have masks"
    return {f"cue_{name}": value for name, value in quality.figures().items()}


def table(done: dict[str, Any]) -> str:
    """Markdown: one row a way and split; mean over the seeds, and half the range behind it."""
    scored = {
        f"{split} | {row.title}": [
            one["scores"] for one in done.values() if (one["title"], one["split"]) == (row.title, split)
        ]
        for split in ("train", "val")
        for row in ROWS
    }
    return "\n".join(score_lines("split | maps", COLUMNS, scored))


if __name__ == "__main__":
    study_command(STUDIES, main)
