"""PASCAL VOC's colours for class indices."""

from __future__ import annotations

__all__ = ["colored", "voc_palette"]

from functools import cache

import numpy as np
from numpy.typing import NDArray

IGNORED = (224, 224, 192)


@cache
def voc_palette() -> NDArray[np.uint8]:
    """(256, 3) RGB: index 0 is black, 255 the cream of VOC's void pixels."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    palette[255] = IGNORED
    palette.setflags(write=False)
    return palette


def colored(mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a mask of indices (0 background, class index + 1, 255 void): uint8 RGB (H, W, 3)."""
    return voc_palette()[mask_HW]
