"""Training with masks of a few images, in batches of one: what an epoch's means count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn.runs.recipes import load_config
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from tests.training.alone import lone_trainer

SMALL = ["data.count=6", "data.size=32", "input.size=32", "validation.split=null", "cluster.workers=1"]
ONES = ["training.batch_size=1", "training.epochs=1", "model.batch_norm=frozen", "method.extra_images=2"]


class Recorded:
    """Keeps what a training reports."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.means: dict[str, float] = {}

    def step(self, record: StepRecord) -> None:
        self.steps.append(record.losses)

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.means = record.metrics

    def checkpoint(self, position: object, metrics: object, write: Callable[[Path], None]) -> None:
        pass


def test_a_mean_counts_the_steps_that_had_the_term() -> None:
    """Six images for their labels and, in each fourth step, one for its mask alone."""
    recorded = Recorded()
    lone_trainer(load_config(TrainConfig, "scenes_gain_ext", [*SMALL, *ONES, "method.warmup_epochs=0"])).fit(recorded)
    assert ["extra" in losses for losses in recorded.steps] == [False, False, False, True] * 2
    assert ["classification" in losses for losses in recorded.steps] == [True, True, True, False] * 2
    for name in ("loss", "classification", "mining", "extra"):
        values = [losses[name] for losses in recorded.steps if name in losses]
        assert recorded.means[f"train/{name}"] == pytest.approx(sum(values) / len(values))
