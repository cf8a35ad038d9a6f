"""Control over the running statistics of batch normalisation."""

from __future__ import annotations

__all__ = ["frozen_statistics", "normalizations"]

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]


def normalizations(module: nn.Module) -> list[_BatchNorm]:
    """All batch-normalisation layers of a module."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """In this context, layers in training mode normalise by the batch without updating their running statistics."""
    tracking = [part for part in normalizations(module) if part.training and part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True
