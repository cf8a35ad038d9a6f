"""Which processes Ray Train starts beside the workers."""

from __future__ import annotations

import pytest
from ray.train.torch import TorchTrainer

from jobs.ray_trainer import CLEANER, DATASETS, LeanTrainer


def callbacks(trainer: TorchTrainer) -> set[str]:
    return {type(callback).__name__ for callback in trainer._create_default_callbacks()}


@pytest.mark.parametrize(("session_outlives_run", "left_out"), [(True, {DATASETS}), (False, {DATASETS, CLEANER})])
def test_what_is_left_out_is_what_ray_would_start_and_no_more(session_outlives_run: bool, left_out: set[str]) -> None:
    lean = LeanTrainer(print, session_outlives_run=session_outlives_run)
    assert callbacks(TorchTrainer(print)) - callbacks(lean) == left_out
    assert callbacks(lean) <= callbacks(TorchTrainer(print))
