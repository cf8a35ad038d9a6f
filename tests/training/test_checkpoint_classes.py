"""A run goes on from a checkpoint only with the classes that it began with, in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from attn.runs.recipes import load_config
from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import TrainingStopped
from tests.training.alone import lone_trainer

SMALL = ["data.count=4", "data.size=32", "input.size=32", "validation.split=null", "training.batch_size=4"]


class Keeper:
    """Keeps one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, record: StepRecord) -> None: ...

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None: ...

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        self.folder.mkdir()
        write(self.folder)


def trainer(classes: tuple[str, ...]) -> Trainer:
    config = load_config(TrainConfig, "scenes_grad_cam", [*SMALL, f"data.classes=[{', '.join(classes)}]"])
    return lone_trainer(config)


def test_another_order_or_number_of_classes_stops_the_run(tmp_path: Path) -> None:
    boat, plane, sheep = "boat", "plane", "sheep"
    trainer((boat, plane, sheep))._save(Keeper(tmp_path / "saved"), {})
    assert trainer((boat, plane, sheep))._restore(tmp_path / "saved")["classes"] == [boat, plane, sheep]
    with pytest.raises(TrainingStopped, match="the classes of the run's checkpoint in another order"):
        trainer((plane, boat, sheep))._restore(tmp_path / "saved")
    with pytest.raises(TrainingStopped, match="the data lacks sheep"):
        trainer((boat, plane))._restore(tmp_path / "saved")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_stop_the_run_and_name_the_checkpoint(tmp_path: Path, value: float) -> None:
    damaged = trainer(("boat", "plane"))
    name, parameter = next(iter(damaged.network.named_parameters()))
    with torch.no_grad():
        parameter[(0,) * parameter.ndim] = value
    damaged._save(Keeper(tmp_path / "saved"), {})
    with pytest.raises(TrainingStopped, match=f"saved: {name} holds NaN or infinity; resume from an older one"):
        trainer(("boat", "plane"))._restore(tmp_path / "saved")
