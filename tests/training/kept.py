"""Records and checkpoints of training loops without a job around them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.trainer import Trainer


def keep(target: Path, rank: int, write: Callable[[Path], None]) -> None:
    """Put one rank's share of a checkpoint into its folder, beside those of the others, as a job would."""
    scratch = target.with_name(f"part-{rank}")
    scratch.mkdir(parents=True)
    write(scratch)
    target.mkdir(exist_ok=True)
    for path in scratch.iterdir():
        path.replace(target / path.name)
    scratch.rmdir()


class Records:
    """Keeps what is reported, and checkpoints if there is a folder for them."""

    def __init__(self, folder: Path | None = None, rank: int = 0) -> None:
        self.folder, self.rank = folder, rank
        self.steps, self.epochs, self.saved = list[int](), list[int](), list[str]()

    def step(self, record: StepRecord) -> None:
        self.steps.append(record.step)
        assert math.isfinite(record.losses["loss"])

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.epochs.append(record.epoch)

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        self.saved.append(f"{position.epoch}-{position.batch}")
        if self.folder is not None:
            keep(self.folder / self.saved[-1], self.rank, write)
