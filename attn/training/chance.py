"""A message about a classifier that learns nothing."""

from __future__ import annotations

__all__ = ["chance_notice"]

import math
from collections.abc import Sequence

AT_START = 2.0
"""Times the loss of guessing that the mean of the first epoch must reach: a good run's first steps may lie above it."""
LATER = 0.98


def chance_notice(losses: Sequence[float], classes: int, rates: tuple[float, float]) -> str | None:
    """Say once that a network of exclusive classes is no better than guessing, after the first epoch that shows it.

    Args:
        losses: Mean cross-entropy of each epoch so far.
        classes: Number of classes.
        rates: `optimizer.lr` and `optimizer.multipliers.head_weight`.

    Returns:
        None if the newest epoch does not show it, or an earlier one did.
    """
    chance = math.log(classes)
    if classes < 2 or not losses:
        return None
    shown = [loss >= chance * (LATER if epoch else AT_START) for epoch, loss in enumerate(losses)]
    if not shown[-1] or any(shown[:-1]):
        return None
    lr, head = rates
    return (
        f"epoch {len(losses)}: the classification loss {losses[-1]:.3g} is not below that of guessing among {classes} "
        f"classes, ln {classes} = {chance:.3g}: the network has learnt nothing yet. If the next epoch is no better, "
        f"lower optimizer.multipliers.head_weight={head:g} and head_bias, or optimizer.lr={lr:g}"
    )
