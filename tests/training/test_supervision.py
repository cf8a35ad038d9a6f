"""Which images a run has masks of, and how a plan and the log say it."""

from __future__ import annotations

from collections import Counter

import pytest

from attn.data.sources.generated import ScenesConfig
from attn.runs.recipes import load_config
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


def test_a_plan_without_masks_or_data_says_nothing() -> None:
    assert choices("cues", _config("method.extra_supervision=none")) == {}
    assert choices("cues", _config("data={source: folder, root: /nowhere}")) == {}
    assert ScenesConfig(count=4).build().records[0].mask is not None
