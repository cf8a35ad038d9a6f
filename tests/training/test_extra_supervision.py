"""Training with masks of a few images, in batches of one: what an epoch's means count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn.runs.recipes import load_config
from attn.training.checkpoint import Position
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


def test_a_warm_up_draws_no_masks() -> None:
    """Each step of it has the classification, and each image is classified once."""
    recorded = Recorded()
    trainer = lone_trainer(load_config(TrainConfig, "scenes_gain_ext", [*SMALL, *ONES, "method.warmup_epochs=1"]))
    trainer.fit(recorded)
    assert [set(losses) for losses in recorded.steps] == [{"loss", "classification"}] * 6
    assert recorded.means["train/loss"] == recorded.means["train/classification"]


def test_a_warm_up_with_extra_supervision_draws_masks() -> None:
    recorded, warm = Recorded(), ["method.warmup_epochs=1", "method.warmup_extra=true"]
    lone_trainer(load_config(TrainConfig, "scenes_gain_ext", [*SMALL, *ONES, *warm])).fit(recorded)
    assert ["extra" in losses for losses in recorded.steps] == [False, False, False, True] * 2


def test_steps_and_epochs_of_a_training_with_warm_up_are_counted() -> None:
    """Twelve images in batches of four: three steps of warm-up, then four an epoch."""
    fours = [*SMALL, "data.count=12", "training.batch_size=4", "training.epochs=3", "method.extra_images=2"]
    fours = [*fours, "method.extra_fraction=0.25", "method.warmup_epochs=1"]
    trainer = lone_trainer(load_config(TrainConfig, "scenes_gain_ext", fours))
    assert (trainer.epochs, trainer.total_steps) == (3, 11)
    trainer = lone_trainer(load_config(TrainConfig, "scenes_gain_ext", [*fours, "training.steps=12"]))
    assert (trainer.epochs, trainer.total_steps) == (4, 12)


class Interrupted(Exception):
    """The process ends."""


class Kept(Recorded):
    """Writes the checkpoint of one position, and ends the process then."""

    def __init__(self, folder: Path, position: Position) -> None:
        super().__init__()
        self.folder, self.position = folder, position

    def checkpoint(self, position: object, metrics: object, write: Callable[[Path], None]) -> None:
        if position == self.position:
            self.folder.mkdir()
            write(self.folder)
            raise Interrupted


@pytest.mark.parametrize(
    ("before", "after", "length", "position", "whole"),
    [
        (0.25, 0.5, "training.steps=14", Position(3, 0, 12), (4, 14)),
        (0.25, 0.5, "training.epochs=2", Position(1, 0, 4), (2, 10)),
        (0.5, 0.25, "training.epochs=2", Position(0, 5, 5), (2, 9)),
        (0.5, 0.25, "training.steps=13", Position(0, 5, 5), (3, 13)),
    ],
)
def test_a_run_whose_epochs_had_other_numbers_of_steps_goes_on_to_its_end(
    before: float, after: float, length: str, position: Position, whole: tuple[int, int], tmp_path: Path
) -> None:
    """Epochs of four steps with a quarter of the rows for masks, of six with a half."""
    settings = [*SMALL, "data.count=12", "training.batch_size=4", "method.extra_images=2", "method.warmup_epochs=0"]
    settings = [*settings, length, "checkpoint.every_steps=5"]
    first, second = (
        lone_trainer(load_config(TrainConfig, "scenes_gain_ext", [*settings, f"method.extra_fraction={fraction}"]))
        for fraction in (before, after)
    )
    folder = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        first.fit(Kept(folder, position))
    assert first.length_notice is None
    recorded = Recorded()
    metrics = second.fit(recorded, folder)
    assert (second.epochs, second.total_steps) == whole
    assert second.position == Position(whole[0], 0, whole[1])
    assert len(recorded.steps) == whole[1] - position.step
    assert metrics["train/loss"] > 0
    notice = f"goes on after step {position.step}, and ends with epoch {whole[0]} at step {whole[1]}"
    assert notice in (second.length_notice or "")
