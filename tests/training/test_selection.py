"""The best epoch and early stopping: pure functions, held against NumPy and against a loop over all epochs."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attn.errors import WeightsError
from attn.training.checkpoint import Position, load_shared, save_checkpoint
from attn.training.selection import Best, EarlyStoppingConfig, Plateau, Selection, best_of, lower_is_better

SCORES = st.lists(
    st.one_of(st.none(), st.just(math.nan), st.integers(0, 4).map(lambda n: n / 4), st.floats(0, 1)), max_size=12
)
"""An epoch's score; None: the epoch lacks it."""
METRICS = st.sampled_from(["val/mean_ap", "val/loss", "train/mining", "seed_miou", "val/miou"])


def after(selection: Selection, scores: list[float | None], first: int = 1) -> Selection:
    """The selection after epochs `first`, `first` + 1, ..., without regard to early stopping."""
    names = sorted(selection.metrics)
    for epoch, score in enumerate(scores, start=first):
        selection = selection.after(epoch, {} if score is None else dict.fromkeys(names, score))
    return selection


def kept(selection: Selection) -> Selection:
    """The selection as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(selection.state(), file)
    file.seek(0)
    fresh = Selection(selection.metric, selection.stopping)
    return fresh.restored(torch.load(file, weights_only=True))


@given(METRICS, SCORES)
def test_the_best_epoch_is_the_first_with_the_extreme_value(metric: str, scores: list[float | None]) -> None:
    best = after(Selection(metric), scores).best
    values = np.array([math.nan if score is None else score for score in scores], float)
    if np.isnan(values).all():
        assert best is None
        return
    at = int(np.nanargmin(values) if "loss" in metric or metric.startswith("train/") else np.nanargmax(values))
    assert best is not None
    assert (best.epoch, best.value, best.metrics) == (at + 1, values[at], {metric: values[at]})


@given(METRICS, SCORES, st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.25]))
def test_training_ends_after_so_many_epochs_without_an_improvement(
    metric: str, scores: list[float | None], patience: int, min_delta: float
) -> None:
    config = EarlyStoppingConfig(metric=metric, patience=patience, min_delta=min_delta)
    selection, sign = Selection(stopping=config), -1 if lower_is_better(metric) else 1
    reference, since = -math.inf, 0
    for epoch, score in enumerate(scores, start=1):
        selection = after(selection, [score], first=epoch)
        value = -math.inf if score is None or math.isnan(score) else sign * score
        improved = value > -math.inf and (reference == -math.inf or value - reference > min_delta)
        reference, since = (value, 0) if improved else (reference, since + 1)
        assert selection.stops == (since >= patience)
        assert selection.plateau.waited == since
        if selection.stops:
            break


@given(METRICS, SCORES, st.integers(0, 12))
def test_a_checkpoint_at_any_epoch_changes_nothing(metric: str, scores: list[float | None], at: int) -> None:
    begun = Selection(metric, EarlyStoppingConfig(metric=metric, patience=3))
    whole = after(begun, scores)
    resumed = after(kept(after(begun, scores[:at])), scores[at:], first=1 + len(scores[:at]))
    assert (resumed.best, resumed.plateau, resumed.stops) == (whole.best, whole.plateau, whole.stops)


def test_equal_and_infinite_values_improve_nothing() -> None:
    assert after(Selection("val/miou"), [0.5, 0.5, math.inf]).best == after(Selection("val/miou"), [0.5]).best
    assert after(Selection("val/loss"), [2.0, 2.0, -math.inf]).best == after(Selection("val/loss"), [2.0]).best


def test_a_checkpoint_of_an_earlier_version_has_no_selection() -> None:
    begun = Selection("val/miou", EarlyStoppingConfig(metric="val/miou"))
    assert begun.restored({"model": {}}) == begun
    assert Selection().state() == {}
    assert best_of({"model": {}}) is None


@pytest.mark.parametrize("metric", ["val/loss", "val/miou"])
def test_a_plateau_of_another_score_does_not_count(metric: str) -> None:
    before = after(Selection(stopping=EarlyStoppingConfig(metric="val/loss", patience=3)), [0.1, 0.2, 0.3])
    resumed = Selection(stopping=EarlyStoppingConfig(metric=metric, patience=3)).restored(before.state())
    assert resumed.plateau == (before.plateau if metric == "val/loss" else Plateau())
    # One that is written without its score's name is of the score that the config names.
    unnamed = {"plateau": {"epoch": 1, "value": 0.1, "waited": 2}}
    assert Selection(stopping=EarlyStoppingConfig(metric=metric)).restored(unnamed).plateau.waited == 2


def test_what_a_later_version_adds_is_left_out() -> None:
    best = {"metric": "val/miou", "epoch": 2, "value": 0.5, "metrics": {"val/miou": 0.5}, "seconds": 3}
    plateau = {"epoch": 2, "value": 0.5, "waited": 1, "metric": "val/miou", "seconds": 3}
    restored = Selection("val/miou", EarlyStoppingConfig(metric="val/miou")).restored(
        {"best": best, "plateau": plateau}
    )
    assert restored.best == Best("val/miou", 2, 0.5, {"val/miou": 0.5})
    assert restored.plateau == Plateau(2, 0.5, 1, "val/miou")


@pytest.mark.parametrize(
    "fields",
    [
        {"best": {"metric": "val/miou"}},
        {"best": [1, 2]},
        {"best": {"metric": "val/miou", "epoch": "second", "value": 0.5}},
        {"best": {"metric": "val/miou", "epoch": 2, "value": "high"}},
        {"plateau": {"epoch": 2, "value": 0.5, "waited": None}},
        {"plateau": 7},
    ],
    ids=str,
)
def test_a_damaged_selection_is_one_error_that_names_the_checkpoint(tmp_path: Path, fields: dict[str, Any]) -> None:
    save_checkpoint(tmp_path, Position(3), {"model": {"w": torch.ones(1)}, **fields}, {}, 0, 1)
    with pytest.raises(WeightsError, match=f"{tmp_path}: training.pt does not say which epoch is the best"):
        load_shared(tmp_path)


@pytest.mark.parametrize(
    ("metric", "lower"),
    [("val/loss", True), ("train/loss", True), ("train/extra", True), ("val/mean_ap", False), ("seed_miou", False)],
)
def test_losses_are_better_if_they_are_lower(metric: str, lower: bool) -> None:
    assert lower_is_better(metric) is lower
