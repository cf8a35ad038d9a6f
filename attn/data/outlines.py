"""COCO's outlines of one object, polygons or a run-length code, as pixels.

pycocotools draws polygons, but trusts them: a coordinate that is not a number ends the process or takes all memory, two
points are drawn as a box, and a run-length code of the wrong length reads memory that is not its own.
"""

from __future__ import annotations

__all__ = ["Outline", "trace"]

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from attn.data.cells import shown

LEAST_POINTS = 3
KINDS = frozenset({int, float})
MOST_BITS = 60
"""Of a length in a compressed code; longer ones would take a time that grows with their square."""
MERGED = 16
"""Codes that are joined at once: pycocotools walks through the whole result for each of them."""
LONGEST = 20_000_000
"""Pixels that the polygons of one object are long together, and apart; pycocotools takes some seconds for them."""


@dataclass(frozen=True)
class Outline:
    """What lies inside an outline, kept as a code: the pixels of a thousand objects would fill the memory.

    Attributes:
        area: Pixels inside.
        pixels: Makes them, bool (H, W).
    """

    area: int
    pixels: Callable[[], np.ndarray]


def trace(outline: Any, size: tuple[int, int]) -> Outline:
    """Read the outline of one object. What lies a little beyond the image's edges is cut off.

    Raises:
        ValueError: It is no outline, or of an image of another size.
    """
    return _runs(outline, size) if isinstance(outline, dict) else _polygons(outline, size)


def _polygons(outline: Any, size: tuple[int, int]) -> Outline:
    from pycocotools import mask as rle

    if not isinstance(outline, list):
        raise ValueError(f"{shown(outline)} is neither a list of polygons nor a run-length code")
    for polygon in outline:
        if not isinstance(polygon, list) or len(polygon) % 2 or not KINDS.issuperset(map(type, polygon)):
            raise ValueError(f"the polygon {shown(polygon)} is not [x1, y1, x2, y2, ...]")
    drawn = [polygon for polygon in outline if len(polygon) >= 2 * LEAST_POINTS]  # fewer points enclose nothing
    if not any(outline):
        return Outline(0, lambda: np.zeros(size, bool))
    try:
        points_N2 = np.array(list(itertools.chain.from_iterable(outline)), np.float64).reshape(-1, 2)
    except OverflowError:
        raise ValueError(f"the polygon {shown(outline)} is not [x1, y1, x2, y2, ...]") from None
    for name, values, side in zip("xy", points_N2.T, reversed(size), strict=True):
        if wrong := values[~((values >= -side) & (values <= 2 * side))].tolist():
            raise ValueError(f"a polygon has {name}={wrong[0]:g}, the image is {size[1]}x{size[0]}")
    if (length := np.abs(np.diff(points_N2, axis=0)).sum()) > LONGEST:
        raise ValueError(f"its {len(outline)} polygons are {length:.0f} pixels long together, more than {LONGEST}")
    if not drawn:
        return Outline(0, lambda: np.zeros(size, bool))
    codes: Sequence[Any] = rle.frPyObjects(cast(Any, drawn), *size)
    while len(codes) > 1:
        codes = [rle.merge(cast(Any, codes[start : start + MERGED])) for start in range(0, len(codes), MERGED)]
    return Outline(int(rle.area(codes[0])), lambda: rle.decode(codes[0]).astype(bool))


def _runs(outline: dict[str, Any], size: tuple[int, int]) -> Outline:
    """Columns from left to right, each from top to bottom: the lengths of runs of 0 and 1 in turn."""
    own, counts = outline.get("size"), outline.get("counts")
    if own != list(size):
        theirs = f"{own[1]}x{own[0]}" if isinstance(own, list) and len(own) == len(size) else shown(own)
        raise ValueError(f"a run-length code is of a {theirs} image, but the image is {size[1]}x{size[0]}")
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    pixels = size[0] * size[1]
    if (
        not isinstance(lengths, list)
        or any(type(length) is not int or not 0 <= length <= pixels for length in lengths)
        or sum(lengths) != pixels
    ):
        raise ValueError(f"the run-length code {shown(counts)} does not add up to {size[1]}x{size[0]} pixels")
    runs = np.array(lengths, np.int64)
    inside = np.arange(len(runs)) % 2 == 1
    return Outline(int(runs[inside].sum()), lambda: np.repeat(inside, runs).reshape(size[::-1]).T)


def _decompressed(text: str) -> list[int]:
    """The lengths in a compressed code: 5 bits a character, low ones first; from the fourth on, less the last but one.

    A code that breaks off, or has other characters, gives a length that no image has.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > MOST_BITS:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return [-1] if shift else lengths
