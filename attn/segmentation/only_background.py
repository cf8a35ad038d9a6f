"""A message about a segmentation network that gives no pixel to any class."""

from __future__ import annotations

__all__ = ["BackgroundWatch", "only_background"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def only_background(matrix: NDArray[Any]) -> bool:
    """Whether masks are background throughout although the truth has objects.

    Args:
        matrix: Confusion matrix (C + 1, C + 1) of pixels: rows are the truth, columns the prediction, background first.
    """
    return bool(matrix[1:].any()) and not bool(matrix[:, 1:].any())


@dataclass
class BackgroundWatch:
    """The validations so far of a training.

    Attributes:
        in_a_row: Number of the last validations that found only background.
        epoch: The epoch of the last validation, from 1.
        noticed: Whether the message was given.
    """

    in_a_row: int = 0
    epoch: int | None = None
    noticed: bool = False

    def add(self, matrix: NDArray[Any]) -> None:
        """Add a validation, by its confusion matrix as `only_background` takes it."""
        self.epoch = None
        self.in_a_row = self.in_a_row + 1 if only_background(np.asarray(matrix)) else 0

    def notice(self, epoch: int, epochs: int, lr: float) -> str | None:
        """A message, once: after two validations in a row that found only background, or the last one.

        Args:
            epoch: The epoch that has ended, from 1; it may be without a validation.
            lr: `optimizer.lr`.
        """
        self.epoch = self.epoch or epoch
        if self.noticed or self.in_a_row < (1 if epoch == epochs else 2):
            return None
        self.noticed = True
        return (
            f"epoch {self.epoch}: the network gives every pixel of every validation image to the background. Look at "
            "what it learns from (`attn segment cues` prints the coverage of each class), train for more epochs, or "
            f"lower optimizer.lr={lr:g}"
        )
