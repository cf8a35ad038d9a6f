"""Colours of classes: a palette for pictures, and PASCAL VOC's for index PNG files."""

from __future__ import annotations

__all__ = [
    "BACKGROUND_SHADE",
    "CLASS_COLORS",
    "NO_LABEL",
    "UNLABELLED",
    "Color",
    "class_colors",
    "text_color",
    "voc_palette",
]

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
CLASS_COLORS: tuple[Color, ...] = (
    (120, 90, 240), (225, 45, 0), (195, 180, 0), (255, 135, 165), (45, 135, 75),
    (210, 180, 225), (120, 45, 105), (195, 75, 135), (135, 150, 255), (150, 0, 0),
    (15, 0, 240), (30, 150, 180), (60, 90, 60), (240, 195, 135), (135, 165, 90),
    (180, 120, 120), (120, 195, 180), (225, 240, 0), (15, 75, 165), (180, 240, 195),
)  # fmt: skip
"""Colours of which any two differ by CIEDE2000 of 14 at least; 9 as people without one kind of cones see them.

Found by a search for the largest least distance, also to the greys of background and unlabelled pixels; the colours
that differ most come first."""
UNLABELLED: Color = (232, 232, 232)
NO_LABEL = 255
"""The value in masks of pixels without a label: void in the truth, open in cues."""
BACKGROUND_SHADE = 0.4
"""How bright the grey image is that is shown for the background."""
VOID: Color = (224, 224, 192)


def class_colors(values: Iterable[int]) -> dict[int, Color]:
    """The colour of each class that a picture shows, by its value in masks (its index + 1).

    A class has the same colour in all pictures, unless the picture shows another class, given before it, of the same
    colour, which takes more than 20 classes; it then gets a colour that is free, if there is one.
    """
    colors: dict[int, Color] = {}
    count = len(CLASS_COLORS)
    wanted = [value for value in dict.fromkeys(values) if value not in (0, NO_LABEL)]
    own = {CLASS_COLORS[(value - 1) % count] for value in wanted}
    for value in wanted:
        color = CLASS_COLORS[(value - 1) % count]
        if color in colors.values():
            free = [other for other in CLASS_COLORS if other not in colors.values() and other not in own]
            color = free[0] if free else color
        colors[value] = color
    return colors


def text_color(background: Color) -> Color:
    """Black or white, whichever contrasts more with a background (relative luminance of WCAG 2)."""
    linear = [((part / 255 + 0.055) / 1.055) ** 2.4 if part > 10 else part / 255 / 12.92 for part in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


@cache
def voc_palette() -> NDArray[np.uint8]:
    """(256, 3) RGB: index 0 is black, 255 the cream of VOC's void pixels."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    palette[255] = VOID
    palette.setflags(write=False)
    return palette
