"""Overlays of attention maps on images. Images are uint8 RGB (H, W, 3), maps floating (H, W) in [0, 1]."""

from __future__ import annotations

__all__ = ["heat", "outline", "overlay"]

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
OPACITY = 0.85
FADE = 0.65


def heat(map_HW: NDArray[Any]) -> Pixels:
    """Colour a map with inferno, whose lightness rises evenly and is readable with colour blindness."""
    grey = np.rint(np.clip(map_HW, 0, 1) * 255).astype(np.uint8)
    return cast("Pixels", cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))


def overlay(image: Pixels, map_HW: NDArray[Any], truth: NDArray[np.bool_] | None = None) -> Pixels:
    """Overlay a map on an image: grey where the map is low, the map's colours where it is high.

    Args:
        truth: Mask of the object, drawn as an outline.

    Raises:
        ValueError: The map's size is not the image's.
    """
    if map_HW.shape != image.shape[:2]:
        raise ValueError(f"the map must have the image's size {image.shape[:2]}, not {map_HW.shape}")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    faded = FADE * (0.6 * grey + 0.4 * image)
    strength = OPACITY * np.clip(map_HW, 0, 1)[..., None].astype(np.float32) ** 0.7
    blended = (1 - strength) * faded + strength * heat(map_HW)
    pixels = np.rint(np.clip(blended, 0, 255)).astype(np.uint8)
    return pixels if truth is None else outline(pixels, truth)


def outline(image: Pixels, region: NDArray[np.bool_]) -> Pixels:
    """Draw a light line along the inside of a region's edge, with a dark one outside, each one pixel wide.

    They stay this thin along ragged edges, where wider ones would run together.
    """
    pixels, inside = np.ascontiguousarray(image).copy(), region.astype(np.uint8)
    near = cast("Any", cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    inner = cv2.erode(inside, near, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    pixels[cv2.dilate(inside, near) > inside] = (0, 0, 0)
    pixels[inside > inner] = (120, 235, 255)
    return pixels
