"""Which steps a run records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from attn.training.reporter import StepRecord
from jobs.training.worker import RayReporter


@pytest.mark.parametrize(
    ("every", "per_epoch", "steps", "expected"),
    [(20, 3, 9, [3, 6, 9]), (20, 45, 90, [20, 40, 45, 60, 80, 90]), (1, 2, 4, [1, 2, 3, 4]), (20, 4, 10, [4, 8, 10])],
)
def test_the_last_step_of_each_epoch_is_recorded(every: int, per_epoch: int, steps: int, expected: list[int]) -> None:
    recorded: list[int] = []
    reporter: Any = SimpleNamespace(
        config=SimpleNamespace(tracking=SimpleNamespace(log_every_steps=every)),
        trainer=SimpleNamespace(length_notice=None, epoch_end=0),
        tracker=SimpleNamespace(log_metrics=lambda metrics, step: recorded.append(step)),
        channel=SimpleNamespace(mark_under_way=lambda: None, put=lambda record: None),
        steps=0,
        speed={},
        last_record=0.0,
    )
    for step in range(1, steps + 1):
        epoch = (step - 1) // per_epoch
        reporter.trainer.epoch_end = min((epoch + 1) * per_epoch, steps)
        RayReporter.step(reporter, StepRecord(epoch, 9, step, steps, {"loss": 0.5}, 0.01, 4.0, 1.0, 0.25))
    assert recorded == expected
