"""Which images a run has masks of, and how a plan and the log say it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from attn.data.sources.generated import ScenesConfig
from attn.data.sources.manifest import ManifestConfig
from attn.errors import ConfigError, DataError
from attn.runs.named_images import check_named_images
from attn.runs.recipes import load_any_run, load_config
from attn.training.classifier import build_components
from attn.training.supervision import class_counts, supervised_images
from attn.training.train_config import TrainConfig
from services.plan import choices

SMALL = ["data.count=40", "data.size=32", "input.size=32", "validation.split=null", "training.batch_size=8"]


def _config(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_gain_ext", [*SMALL, "cluster.workers=1", *overrides])


@pytest.mark.parametrize(
    "chosen", ["method.extra_choice=random", "method.extra_choice=balanced", "method.extra_ids=[train-000003]"]
)
def test_a_plan_says_what_the_training_uses(chosen: str) -> None:
    config = _config("method.extra_images=9", chosen)
    used = sorted(build_components(config, rank=0, world=1).dataset.supervised)
    source = config.data.build()
    assert used == supervised_images(source, config.method.build().supervision, config.seed)
    assert len(used) == (1 if "ids" in chosen else 9)
    shown = Counter(source.classes[label] for index in used for label in source.records[index].labels)
    expected = ", ".join(f"{name} {shown[name]}" for name in source.classes)
    assert class_counts(source, used) == expected
    images = "1 image" if len(used) == 1 else f"{len(used)} images"
    assert choices("cues", config) == {"masks": f"{images}: {expected}"}


def test_masks_of_the_images_that_a_file_lists(tmp_path: Path) -> None:
    listed = [f"train-{index:06d}" for index in (0, 2, 5, 30)]
    file = tmp_path / "true.txt"
    file.write_text("\n".join([*listed, "", " another "]) + "\n")
    config = _config("method.extra_images=3", f"method.extra_list={file}")
    source = config.data.build()
    used = supervised_images(source, config.method.build().supervision, config.seed)
    assert len(used) == 3
    assert {source.records[index].image_id for index in used} < set(listed)
    assert choices("cues", config)["masks"].startswith("3 images: ")
    assert sorted(build_components(config, rank=0, world=1).dataset.supervised) == used


@pytest.mark.parametrize(
    ("content", "fault"),
    [(None, "no such file"), (b"\n \n", "has no image ids"), (b"\xff\xfe\x00", "is not a text file")],
)
def test_a_list_that_is_none(content: bytes | None, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    if content is not None:
        file.write_bytes(content)
    config = _config(f"method.extra_list={file}")
    with pytest.raises(DataError, match=fault):
        supervised_images(config.data.build(), config.method.build().supervision, config.seed)


def test_images_are_named_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="extra_ids and extra_list both say which images"):
        _config("method.extra_ids=[train-000003]", f"method.extra_list={tmp_path}/list.txt")


def test_a_plan_without_masks_or_data_says_nothing() -> None:
    assert choices("cues", _config("method.extra_supervision=none")) == {}
    assert choices("cues", _config("data={source: folder, root: /nowhere}")) == {}
    assert ScenesConfig(count=4).build().records[0].mask is not None


def test_a_wrong_name_is_refused_before_the_training() -> None:
    check_named_images(_config("method.extra_ids=[train-000003]"))
    wrong = "method.extra_ids=[train-000003, images/3]"
    expected = r"'images/3' is not in the split, whose ids are such as 'train-000000'"
    with pytest.raises(DataError, match=expected):
        check_named_images(_config(wrong))
    with pytest.raises(DataError, match=expected):
        check_named_images(load_any_run("gain_segment_scenes", [
            "train.method.extra_supervision=masks", f"train.{wrong}", "data.count=8",
        ]))  # fmt: skip
    away = _config(wrong)
    away = away.model_copy(update={"data": ManifestConfig(manifest="/nowhere/table.csv", classes=("a", "b"))})
    check_named_images(away)
