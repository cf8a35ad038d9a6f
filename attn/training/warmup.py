"""Notices about a warm-up that lasts for the whole training."""

from __future__ import annotations

__all__ = ["warmup_notices"]

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig


def warmup_notices(config: RunConfig, epochs: int | None = None, prefix: str = "") -> list[str]:
    """A message for the user if the method's own losses are never trained; else none.

    Args:
        epochs: Number of epochs, where `training.steps` limits them; None: what the config says.
        prefix: Of the fields in the message.
    """
    last = config.last_epoch if epochs is None else epochs - 1
    trained = config.loss_terms(last)
    never = [name for name in config.loss_terms(sys.maxsize) if name not in trained]
    if not never:
        return []
    warmup = getattr(getattr(config, "method", None), "warmup_epochs", None)
    length = f"the run's {last + 1} epochs" if config.training.steps else f"{prefix}training.epochs={last + 1}"
    losses = f"by {' and '.join(trained)} alone, never by {', '.join(never)}"
    return [
        f"{prefix}method.warmup_epochs={warmup} covers all of {length}: {config.title} trains {losses}. "
        f"Set {prefix}method.warmup_epochs to {last} or less, or train longer"
    ]
