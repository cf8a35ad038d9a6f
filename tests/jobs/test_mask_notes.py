"""Notes on the scores of masks and cues: which images they are of, wherever the scores are shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from attn import progress
from attn.data.sources.generated import ScenesConfig
from jobs import pipeline, show
from jobs.mask_prediction import PredictedMasks
from tests.jobs.pipelines import config, untrained

COUNTED = "7 of 8 images have no mask and do not count"


def predicted(miou: list[list[int]], refined: list[list[int]], images: int) -> PredictedMasks:
    """One scored image among others; confusion matrices with the truth down, the prediction across."""
    matrices = {"miou": np.array(miou, np.int64), "miou_crf": np.array(refined, np.int64)}
    return PredictedMasks(matrices, images=images, masked=[0])


def test_what_holds_of_the_scored_images_is_not_said_of_all() -> None:
    found, nothing = [[5, 1], [1, 3]], [[6, 0], [4, 0]]
    of_some = predicted(found, nothing, images=8).notes()
    assert of_some == [
        COUNTED,
        "every mask of the images that count is background throughout after the CRF, which removes all classes there",
    ]
    assert predicted(nothing, nothing, images=8).notes()[1] == (
        "every mask of the images that count is background throughout: the network finds none of their classes"
    )
    assert predicted(nothing, nothing, images=1).notes() == [
        "every mask is background throughout: the network finds none of the classes"
    ]
    assert predicted(found, found, images=1).notes() == []


def with_one_mask(root: Path) -> str:
    """Scenes as files, of which one of each split has a mask; gives the pipeline's data."""
    lines = ["image,labels,mask,saliency,split"]
    for split in ("train", "val"):
        source = ScenesConfig(split=split, count=8, size=32).build()
        for index, record in enumerate(source.records):
            example = source.load(index)
            for kind in ("image", "mask", "saliency"):
                cv2.imwrite(f"{root}/{kind}_{split}{index}.png", np.asarray(getattr(example, kind)))
            names, mask = "|".join(source.classes[one] for one in record.labels), f"mask_{split}{index}.png"
            row = [f"image_{split}{index}.png", names, "" if index else mask, f"saliency_{split}{index}.png", split]
            lines.append(",".join(row))
    (root / "table.csv").write_text("\n".join(lines))
    classes = ", ".join(source.classes)
    return f"data={{source: manifest, manifest: {root}/table.csv, split: train, classes: [{classes}]}}"


def test_a_pipeline_says_which_images_its_scores_are_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(monkeypatch)
    said = list[str]()
    monkeypatch.setattr(progress, "say", said.append)
    overrides = with_one_mask(tmp_path), "evaluation.data.split=val"
    result = pipeline.run(config(tmp_path / "runs", *overrides), run_id="p")
    lines = {line.partition(" ")[0]: line for line in said if " done in " in line}
    assert f"; {COUNTED}" in lines["cues"]
    assert f"; {COUNTED}" in lines["evaluation"]
    assert result.notes[0] == f"cues: {COUNTED}"
    assert f"masks: {COUNTED}" in result.notes
    assert set(result.notes) <= set(show.run("p", root=f"{tmp_path}/runs").notices)
    for stage in ("cues", "evaluation"):
        assert COUNTED in show.run(result.stages[stage].run_id, root=f"{tmp_path}/runs").notices, stage
    again = pipeline.run(config(tmp_path / "runs", *overrides), run_id="p")
    assert again.notes == result.notes, "of stages that are reused, too"
