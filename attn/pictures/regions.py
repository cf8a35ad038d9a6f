"""Masks painted over images: flat colours with class names. Masks are uint8 (H, W): 0 background, 255 no label."""

from __future__ import annotations

__all__ = ["Label", "paint", "place_labels"]

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from attn.pictures.palette import BACKGROUND_SHADE, NO_LABEL, UNLABELLED, Color, text_color
from attn.pictures.text import draw_text, fitting, width_of

Pixels = NDArray[np.uint8]
EDGE: Color = (255, 255, 255)
INSIDE = 0.75
"""Least share of a name's box that must lie on its region."""


@dataclass(frozen=True)
class Label:
    """A name on a region: the region's value, the text in its size, and its box (left, top, right, bottom)."""

    value: int
    text: str
    size: int
    box: tuple[int, int, int, int]


def paint(
    image: Pixels, mask_HW: Pixels, colors: Mapping[int, Color], names: Mapping[int, str], *, size: int = 12
) -> Pixels:
    """Paint the regions of a mask in flat colours with white edges and their names, over the darkened grey image.

    Args:
        image: uint8 RGB of the mask's size.
        colors: By value; `class_colors` gives them.
        names: By value. A name that does not fit on its region is left to the legend.
        size: Largest size of the names in pixels.
    """
    if mask_HW.shape != image.shape[:2]:
        raise ValueError(f"the mask must have the image's size {image.shape[:2]}, not {mask_HW.shape}")
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    lookup = np.zeros((256, 3), np.uint8)
    lookup[NO_LABEL] = UNLABELLED
    for value, color in colors.items():
        lookup[value] = color
    background = np.rint(BACKGROUND_SHADE * grey).astype(np.uint8)
    pixels = np.where((mask_HW == 0)[..., None], background, lookup[mask_HW])
    pixels[_edges(mask_HW)] = EDGE
    drawn = Image.fromarray(pixels)
    draw = ImageDraw.Draw(drawn)
    for label in place_labels(mask_HW, names, size):
        color = colors[label.value]
        left, top, right, bottom = label.box
        draw.rectangle((left, top, right - 1, bottom - 1), fill=color)
        draw_text(draw, ((left + right) / 2, (top + bottom) / 2), label.text, text_color(color), label.size, "mm")
    return np.asarray(drawn)


def place_labels(mask_HW: Pixels, names: Mapping[int, str], size: int = 12) -> list[Label]:
    """Where the names of regions fit, the largest region's first; boxes lie in the picture and do not overlap."""
    areas = np.bincount(mask_HW.ravel(), minlength=256)
    labels: list[Label] = []
    free = np.ones(mask_HW.shape, np.uint8)
    for value in sorted(names, key=lambda value: -int(areas[value])):
        if (label := _placed(value, (mask_HW == value).astype(np.uint8), free, names[value], size)) is not None:
            left, top, right, bottom = label.box
            free[top:bottom, left:right] = 0
            labels.append(label)
    return labels


def _placed(value: int, region: Pixels, free: Pixels, name: str, largest: int) -> Label | None:
    """The name where most of its box lies on the region, in the largest size that fits, else shortened."""
    height, width = region.shape
    shorter = fitting(name, largest - 2, max(largest * 3, width // 3))
    for text, size in ((name, largest), (name, largest - 2), (shorter, largest - 2)):
        box_width, box_height = width_of(text, size) + 6, size + 4
        if not text or box_width > width or box_height > height:
            continue
        inside = _box_sums(region, box_width, box_height)
        inside[_box_sums(free, box_width, box_height) < box_width * box_height] = 0
        top, left = _most_central(inside, region, box_width, box_height)
        if inside[top, left] >= INSIDE * box_width * box_height:
            return Label(value, text, size, (left, top, left + box_width, top + box_height))
    return None


def _box_sums(values: Pixels, width: int, height: int) -> NDArray[np.int64]:
    """Sum over each box of a size, by the box's top left corner."""
    total = np.pad(values.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]


def _most_central(inside: NDArray[np.int64], region: Pixels, width: int, height: int) -> tuple[int, int]:
    """Of the boxes that cover the region most, the one whose centre is deepest in the region."""
    depth = cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    down, across = inside.shape
    centres = depth[height // 2 : height // 2 + down, width // 2 : width // 2 + across]
    best = np.where(inside >= 0.98 * inside.max(), centres, -1.0)
    top, left = np.unravel_index(int(best.argmax()), best.shape)
    return int(top), int(left)


def _edges(mask_HW: Pixels) -> NDArray[np.bool_]:
    """The pixels left of and above a change of class. Unlabelled pixels have no edge: void would get a double one."""
    edges = np.zeros(mask_HW.shape, bool)
    edges[:, :-1] |= _changes(mask_HW[:, :-1], mask_HW[:, 1:])
    edges[:-1] |= _changes(mask_HW[:-1], mask_HW[1:])
    return edges


def _changes(one: Pixels, other: Pixels) -> NDArray[np.bool_]:
    return (one != other) & (one != NO_LABEL) & (other != NO_LABEL)
