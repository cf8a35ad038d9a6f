"""Notices about a warm-up that lasts for the whole training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attn.data.source_cache import SourceCache
from attn.notices import print_once
from attn.runs.config_notices import config_notices
from attn.runs.recipes import list_recipes, load_any_run
from attn.training.train_config import TrainConfig
from jobs.training.classifier import validate

ALONE = "trains by classification alone, never by "


@pytest.mark.parametrize(
    ("recipe", "overrides", "expected"),
    [
        ("scenes_gain", ["training.epochs=3"], f"gain {ALONE}mining. Set method.warmup_epochs to 2 or less"),
        ("scenes_icasc", ["training.epochs=50"], f"icasc {ALONE}iou_last, "),
        ("scenes_gain_ext", ["training.epochs=9"], "never by mining"),
        ("scenes_gain", ["method.warmup_epochs=2000000"], ALONE),
        ("gain_segment_scenes", ["train.training.epochs=2"], "train.method.warmup_epochs=9 covers all of train."),
        ("sweep_scenes_gain", ["space={seed: [1, 2]}", "set.training.epochs=4", "scheduler.name=fifo"], ALONE),
        ("sweep_scenes_gain", ["space={training.epochs: [4, 9]}"], "training.epochs=4"),
        ("scenes_gain", ["training.epochs=10"], ""),
        ("scenes_gain", ["training.epochs=3", "method.alpha=0"], ""),
        ("scenes_gain", ["training.steps=3"], ""),
        ("scenes_gain", ["training.epochs=3", "method.name=grad_cam"], ""),
        ("sweep_scenes_gain", [], ""),
    ],
)  # fmt: skip
def test_a_warmup_of_all_epochs_is_told(recipe: str, overrides: list[str], expected: str) -> None:
    notices = [text for text in config_notices(load_any_run(recipe, overrides)) if "no effect" not in text]
    assert len(notices) == bool(expected)
    assert expected in "".join(notices)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["search={name: tpe, trials: 4}"], "search.startup=5 lets all 4 trials be drawn at random"),
        (["search={name: tpe, trials: 5, startup: 5}"], "search.startup=5 lets all 5 trials be drawn at random"),
        (["search={name: tpe, trials: 6}"], ""),
        (["search={name: random, trials: 2}"], ""),
        (["scheduler.grace_epochs=9"], "scheduler.grace_epochs=9 stops no trial early: trials end after 9 epochs"),
        (["scheduler.grace_epochs=12"], "scheduler.grace_epochs=12 stops no trial early: trials end after 9 epochs"),
        (["scheduler.grace_epochs=12", "space={training.epochs: [8, 20]}"], ""),
        (["scheduler.grace_epochs=8"], ""),
        (
            ["space={optimizer.lr: [0.01, 0.1], store.fusion: [max, mean]}", "set.store.accumulate=true"],
            "does not depend on store.fusion: trials that differ in nothing else are equal",
        ),
        (["space={optimizer.lr: [0.01, 0.1], checkpoint.best: [null, val/mean_ap]}"], ""),
    ],
)
def test_settings_of_a_sweep_without_effect_are_told(overrides: list[str], expected: str) -> None:
    notices = config_notices(load_any_run("sweep_scenes_gain", overrides))
    assert len(notices) == bool(expected)
    assert expected in "".join(notices)


def test_no_recipe_has_one_or_uses_an_old_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    print_once.cache_clear()
    assert [recipe.name for recipe in list_recipes() if config_notices(load_any_run(recipe.name, []))] == []
    assert capsys.readouterr().err == ""


def test_the_training_tells_it_of_steps_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small = ["data.count=32", "training.batch_size=16", "cluster.workers=1", f"root={tmp_path}"]
    for steps, told in ((4, True), (40, False)):
        config = load_any_run("scenes_gain", [*small, f"training.steps={steps}"])
        assert isinstance(config, TrainConfig)
        run: Any = SimpleNamespace(config=config, sources=SourceCache(), folder=None)
        assert any("the run's 2 epochs" in text for text in validate(run)["notices"]) == told
        assert ("the run's 2 epochs" in capsys.readouterr().err) == told
