"""The smallest inputs and batches that a network accepts, found by trying forward passes.

Only small inputs can fail, and a forward pass of a small input on the CPU takes some hundredths of a second. On torch's
meta device the first batch normalisation imports torch's compiler, which takes over a second.
"""

from __future__ import annotations

__all__ = ["POSITIONS", "fits", "least_side"]

from collections.abc import Callable

import torch
from torch import nn

POSITIONS = 4
"""An input whose sides are this many strides is large enough for every architecture."""

Size = tuple[int, int]


def fits(network: nn.Module, size: Size, images: int = 1, *, training: bool = False) -> bool:
    """Return whether a network accepts a batch of inputs of a size. Restores the modes of its modules.

    Args:
        size: Height and width of the inputs.
        images: Number of images.
        training: Use training mode, where batch normalisation needs more than one value per channel. This changes
            running statistics, so the network must not be used afterwards.
    """
    modes = {module: module.training for module in network.modules()}
    device = next(network.parameters()).device
    network.train(training)
    try:
        with torch.no_grad():
            network(torch.zeros(images, 3, *size, device=device))
    except (RuntimeError, ValueError):  # a layer without output, or a channel with a single value
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return True


def least_side(takes: Callable[[Size], bool], enough: int) -> int:
    """The smallest side of a square input that is accepted.

    Args:
        takes: Whether a size (height, width) is accepted; monotonic in the size.
        enough: A side that is accepted.
    """
    low, high = 1, enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if takes((middle, middle)) else (middle + 1, high)
    return low
