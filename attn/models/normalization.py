"""Batch normalisation: who may change its running statistics, and when."""

from __future__ import annotations

__all__ = ["frozen_statistics", "normalizations"]

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]


def normalizations(module: nn.Module) -> list[_BatchNorm]:
    """Every batch-normalisation layer within a module."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, layers in training mode normalise by the batch and leave their running statistics untouched."""
    tracking = [part for part in normalizations(module) if part.training and part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True
