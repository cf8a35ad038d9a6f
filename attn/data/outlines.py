"""COCO's outlines of one object, polygons or a run-length code, as pixels.

pycocotools draws polygons, but trusts them: a coordinate that is not a number ends the process or takes all memory, two
points are drawn as a box, and a run-length code of the wrong length reads memory that is not its own.
"""

from __future__ import annotations

__all__ = ["draw"]

from typing import Any, cast

import numpy as np

SHOWN = 60
"""Characters of a wrong value in a message."""
LEAST_POINTS = 3
MOST_BITS = 60
"""Of a length in a compressed code; longer ones would take a time that grows with their square."""


def draw(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): inside the outline. What lies a little beyond the image's edges is cut off.

    Raises:
        ValueError: It is no outline, or of an image of another size.
    """
    return _runs(outline, size) if isinstance(outline, dict) else _polygons(outline, size)


def _polygons(outline: Any, size: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as rle

    if not isinstance(outline, list):
        raise ValueError(f"{_short(outline)} is neither a list of polygons nor a run-length code")
    polygons = [_polygon(item, size) for item in outline]
    drawn = [polygon for polygon in polygons if len(polygon) >= 2 * LEAST_POINTS]  # fewer points enclose nothing
    if not drawn:
        return np.zeros(size, bool)
    return rle.decode(rle.merge(rle.frPyObjects(cast(Any, drawn), *size))).astype(bool)


def _polygon(polygon: Any, size: tuple[int, int]) -> list[float]:
    try:
        points = np.array(polygon if isinstance(polygon, list) else None)
    except ValueError:  # a list in it
        points = np.array(None)
    if points.ndim != 1 or len(points) % 2 or (len(points) and points.dtype.kind not in "iuf"):
        raise ValueError(f"the polygon {_short(polygon)} is not [x1, y1, x2, y2, ...]")
    for name, values, side in zip("xy", (points[0::2], points[1::2]), reversed(size), strict=True):
        if wrong := values[~((values >= -side) & (values <= 2 * side))].tolist():
            raise ValueError(f"a polygon has {name}={wrong[0]:g}, the image is {size[1]}x{size[0]}")
    return points.astype(float).tolist()


def _runs(outline: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Columns from left to right, each from top to bottom: the lengths of runs of 0 and 1 in turn."""
    own, counts = outline.get("size"), outline.get("counts")
    if own != list(size):
        shown = f"{own[1]}x{own[0]}" if isinstance(own, list) and len(own) == len(size) else _short(own)
        raise ValueError(f"a run-length code is of a {shown} image, but the image is {size[1]}x{size[0]}")
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    pixels = size[0] * size[1]
    if (
        not isinstance(lengths, list)
        or any(type(length) is not int or not 0 <= length <= pixels for length in lengths)
        or sum(lengths) != pixels
    ):
        raise ValueError(f"the run-length code {_short(counts)} does not add up to {size[1]}x{size[0]} pixels")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[::-1]).T


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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
