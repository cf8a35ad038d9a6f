"""Which inputs and batches a network can take at all: tried, since every layer has a say in it.

Only small inputs can fail, and a pass of such a one on the CPU takes some hundredths of a second. On torch's meta
device the first batch normalisation alone imports torch's compiler, which takes a second and more.
"""

from __future__ import annotations

__all__ = ["POSITIONS", "fits", "least_side"]

from collections.abc import Callable

import torch
from torch import nn

POSITIONS = 4
"""An input of as many strides a side is never too small: every layer of every architecture has positions left over."""

Size = tuple[int, int]


def fits(network: nn.Module, size: Size, images: int = 1, *, training: bool = False) -> bool:
    """Whether a network takes so many images of (height, width); its modes are put back.

    Args:
        training: In training mode, where batch normalisation needs more than one value per channel. Running statistics
            then change: for networks that nobody uses.
    """
    modes = {module: module.training for module in network.modules()}
    device = next(network.parameters()).device
    network.train(training)
    try:
        with torch.no_grad():
            network(torch.zeros(images, 3, *size, device=device))
    except (RuntimeError, ValueError):  # what torch raises for a layer without output, or a channel of one value
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return True


def least_side(takes: Callable[[Size], bool], enough: int) -> int:
    """The least side of a square that is taken.

    Args:
        takes: Says so of (height, width); of two sizes the larger is taken where the smaller is.
        enough: A side that is taken.
    """
    low, high = 1, enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if takes((middle, middle)) else (middle + 1, high)
    return low
