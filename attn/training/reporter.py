"""What a training loop tells of its steps and epochs, and whom it tells."""

from __future__ import annotations

__all__ = ["EpochRecord", "Reporter", "Scorer", "StepRecord"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attn.training.checkpoint import Position

if TYPE_CHECKING:
    from attn.training.trainer import Trainer


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step: its losses (rank 0's share of the batch), `optimizer.lr` by the schedule, its place.

    Attributes:
        images_per_second: Of all workers, in the epoch so far.
        waiting: Share of that time, in [0, 1], in which rank 0 waited for data.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    lr: float
    images_per_second: float
    seconds_left: float
    waiting: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean losses and validation scores, plain numbers."""

    epoch: int
    step: int
    metrics: dict[str, float]
    skipped: tuple[str, ...] = ()


class Reporter(Protocol):
    """Receives a run's records. Every rank calls `checkpoint`; the other calls are made on rank 0 alone.

    `cancelled` is called after every step, and returns whether the run should end.
    """

    def step(self, record: StepRecord) -> None: ...

    def cancelled(self) -> bool: ...

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None: ...

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None: ...


Scorer = Callable[[dict[str, float], "Trainer"], dict[str, float]]
"""Gives more metrics of an epoch from those that there are."""
