"""What training refuses of its data as a whole, the check of a run's data names, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attn.errors import DataError
from attn.runs.recipes import load_config
from attn.training.classifier import build_components
from attn.training.data_check import check_run, refusals
from attn.training.train_config import TrainConfig

Folder = Callable[[dict[str, list[str]]], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write data sets of two images of each class, by split."""

    def write(classes: dict[str, list[str]]) -> Path:
        shade = 0
        for split, names in classes.items():
            for name in names:
                (tmp_path / split / name).mkdir(parents=True)
                for number in range(2):
                    shade += 9
                    Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / split / name / f"{split}{number}.png")
        return tmp_path

    return write


def config_of(root: Path, recipe: str, *overrides: str) -> TrainConfig:
    data = ["data.source=folder", f"data.root={root}", "input.size=16", "model.widths=[2,2,2]", "cluster.workers=1"]
    return load_config(TrainConfig, recipe, [*data, "training.batch_size=2", "data.exclusive=null", *overrides])


def refusal_of(config: TrainConfig) -> str:
    with pytest.raises(DataError) as refused:
        build_components(config, rank=0, world=1)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["masks", "boxes"])
@pytest.mark.parametrize("images", ["0.5", "3"])
def test_masks_that_the_method_needs_are_not_there(folder: Folder, kind: str, images: str) -> None:
    wanted = [f"method.extra_supervision={kind}", f"method.extra_images={images}"]
    root = folder({"train": ["cat", "dog"], "val": ["cat", "dog"]})
    config = config_of(root, "scenes_gain_ext", *wanted)
    assert all(report.ok for report in check_run(config).values())
    (finding,) = refusals(config)
    assert finding.message == refusal_of(config)
    number = 2 if images == "0.5" else 3
    assert f"method.extra_images={images} needs {number} images with {kind}, but only 0 of 4" in finding.message
    assert "method.extra_supervision=none" in finding.message


def test_labels_that_are_all_alike_stop_a_classifier(folder: Folder) -> None:
    config = config_of(folder({"train": ["cat"]}), "scenes_gain", "validation.split=null", "data.exclusive=false")
    (warned,) = [one for one in check_run(config)["data.split=train"].findings if one.kind == "labels"]
    (finding,) = refusals(config)
    assert (warned.severity, finding.severity) == ("warning", "error")
    assert finding.message == warned.message
    assert finding.message in refusal_of(config)


def test_a_validation_split_of_other_classes(folder: Folder) -> None:
    config = config_of(folder({"train": ["cat", "dog"], "val": ["cat", "emu"]}), "scenes_gain")
    (finding,) = check_run(config)["validation.split=val"].errors
    assert finding.message == refusal_of(config)


def test_the_command_ends_with_1(attn: Any, folder: Folder) -> None:
    root = folder({"train": ["cat", "dog"], "val": ["cat", "dog"]})
    data = ["data.source=folder", f"data.root={root}", "data.exclusive=null"]
    done = attn("data", "check", "scenes_gain_ext", *data, "--json")
    (finding,) = done.json["splits"]["data.split=train"]["findings"]
    assert (done.status, finding["severity"], finding["kind"]) == (1, "error", "mask")
    assert attn("data", "check", "scenes_gain", *data).status == 0
