"""How long a training is: its epochs and steps, from any position on."""

from __future__ import annotations

__all__ = ["Length"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attn.training.checkpoint import Position

if TYPE_CHECKING:
    from attn.training.run_config import TrainingConfig

START = Position()


@dataclass(frozen=True)
class Length:
    """The whole length of a training.

    Attributes:
        epochs: Number of epochs; the last one may be cut short by `training.steps`.
        steps: Number of optimiser steps.
    """

    epochs: int
    steps: int

    @classmethod
    def of(cls, training: TrainingConfig, batches_in: Callable[[int], int], position: Position = START) -> Length:
        """The length of a training that is at a position.

        `training.steps` counts, if it is set, and `training.epochs` otherwise; the other one follows from the epochs
        that are left. So a run whose epochs had another number of batches before ends as it was asked to.

        Args:
            batches_in: Micro-batches of an epoch, by its number from 0.
        """
        epoch, step, begun = position.epoch, position.step, position.batch
        while epoch < training.epochs if training.steps is None else step < training.steps:
            step += -(-max(0, batches_in(epoch) - begun) // training.accumulate_steps)
            epoch, begun = epoch + 1, 0
        return cls(epoch, step if training.steps is None else training.steps)

    def notice(self, position: Position) -> str:
        """A message about a run that is continued at a position, and whose length has changed."""
        return (
            f"epochs have another number of steps than when this run began: it goes on after step {position.step}, "
            f"and ends with epoch {self.epochs} at step {self.steps}"
        )
