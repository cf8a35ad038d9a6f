"""Predictions and masks by several processes are those of one; an interrupted command goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.prediction import ImagePredictConfig
from jobs import image_predictions, mask_prediction, segment_predict
from jobs.predict import PredictResult, run
from tests.bundles import tiny_bundle, tiny_segmenter


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, of which the second is broken."""
    folder, generator = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"no image")
    tiny_bundle(tmp_path / "model")
    return folder


def predicted(photos: Path, out: str, *, tasks: int | None = None) -> PredictResult:
    config = ImagePredictConfig(probability=0.4)
    place = str(photos.parent / out)
    return run([str(photos)], model=str(photos.parent / "model"), out=place, config=config, tasks=tasks)


def files_of(folder: str) -> dict[str, bytes]:
    """Files by their path below a folder, without that folder's own name in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(folder.encode(), b"")
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_an_interrupted_command_goes_on_with_the_images_that_are_lacking(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_predictions, "CHUNK", 2)
    predict, seen = image_predictions.predict_file, list[str]()

    def interrupted(predictor: Any, location: str, *more: Any) -> Any:
        seen.append(Path(location).stem)
        if seen[-1] == "3" and seen.count("3") == 2:
            raise KeyboardInterrupt
        return predict(predictor, location, *more)

    whole = predicted(photos, "whole")
    monkeypatch.setattr(image_predictions, "predict_file", interrupted)
    assert predicted(photos, "again").predicted == 4
    with pytest.raises(KeyboardInterrupt):
        predicted(photos, "cut")
    assert seen == [*"01234", *"0123"]
    result = predicted(photos, "cut")
    assert seen[-3:] == [*"234"], "the first two images were done, and are kept"
    assert (result.predicted, len(result.failed), [one["labels"] for one in result.images]) == (
        4, 1, [one["labels"] for one in whole.images],
    )  # fmt: skip
    assert files_of(result.folder) == files_of(whole.folder), "nothing else is left"
    assert result.images == [json.loads(Path(result.folder, name, "prediction.json").read_text()) for name in "0234"]
    predicted(photos, "cut")
    assert seen[-5:] == [*"01234"], "a command that was done does all again"


def test_a_result_lists_few_images_of_many(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_predictions, "MOST_LISTED", 2)
    result = predicted(photos, "out")
    assert (result.predicted, [Path(one["image"]).stem for one in result.images]) == (4, ["0", "2"])
    assert len(Path(result.summary).read_text().splitlines()) == 6


@pytest.mark.slow
def test_several_processes_predict_the_same(photos: Path, ray_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_predictions, "CHUNK", 2)
    monkeypatch.setattr(mask_prediction, "CHUNK", 2)
    here, there = predicted(photos, "here"), predicted(photos, "there", tasks=2)
    assert (there.predicted, len(there.failed)) == (4, 1)
    assert files_of(here.folder) == files_of(there.folder)

    root = photos.parent
    tiny_segmenter(root / "segmenter")
    masks: list[segment_predict.MasksResult] = []
    for more in (["processes=0"], ["tasks=2"]):
        options = [f"root={root}", "panels=2", "inference.crf.iterations=1", *more]
        masks.append(segment_predict.run(segment_predict.load(str(root / "segmenter"), options)))
    alone, shared = masks
    assert (alone.images, alone.masked) == (shared.images, shared.masked) == (6, 6)
    assert (alone.scores, alone.protocols, alone.per_class) == (shared.scores, shared.protocols, shared.per_class)
    for folder in ("masks", "panels"):
        files = files_of(f"{alone.folder}/{folder}")
        assert files == files_of(f"{shared.folder}/{folder}")
        assert len(files) == (2 if folder == "panels" else 8)
