"""Decodes COCO outlines of one object, polygons or a run-length code (RLE), into pixels.

pycocotools draws the polygons, but does not validate its input: a NaN coordinate crashes the process or takes all
memory, two points are drawn as a box, and an RLE of the wrong length reads out of bounds. So everything is checked here
first.
"""

from __future__ import annotations

__all__ = ["Outline", "decode_outline"]

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from attn.data.cells import short_repr

MIN_POINTS = 3
KINDS = frozenset({int, float})
MAX_BITS = 60
"""Maximum bits of a run length in a compressed RLE; decoding longer ones takes quadratic time."""
MERGED_AT_ONCE = 16
"""Number of RLEs merged at once; pycocotools walks through the whole result for each of them."""
MAX_LENGTH = 20_000_000
"""Maximum total length of an object's polygons in pixels, for which pycocotools takes a few seconds."""


@dataclass(frozen=True)
class Outline:
    """The inside of an outline, kept compressed: the pixels of a thousand objects would fill the memory.

    Attributes:
        area: Number of pixels inside.
        pixels: Returns the pixels, bool (H, W).
    """

    area: int
    pixels: Callable[[], np.ndarray]


def decode_outline(outline: Any, size: tuple[int, int]) -> Outline:
    """Decode the outline of one object, clipped at the image's edges.

    Raises:
        ValueError: It is not an outline, or is for an image of another size.
    """
    return _from_runs(outline, size) if isinstance(outline, dict) else _from_polygons(outline, size)


def _from_polygons(outline: Any, size: tuple[int, int]) -> Outline:
    from pycocotools import mask as rle

    if not isinstance(outline, list):
        raise ValueError(f"{short_repr(outline)} is neither a list of polygons nor a run-length code")
    for polygon in outline:
        if not isinstance(polygon, list) or len(polygon) % 2 or not KINDS.issuperset(map(type, polygon)):
            raise ValueError(f"the polygon {short_repr(polygon)} is not [x1, y1, x2, y2, ...]")
    drawn = [polygon for polygon in outline if len(polygon) >= 2 * MIN_POINTS]  # fewer points have no area
    if not any(outline):
        return Outline(0, lambda: np.zeros(size, bool))
    try:
        points_N2 = np.array(list(itertools.chain.from_iterable(outline)), np.float64).reshape(-1, 2)
    except OverflowError:
        raise ValueError(f"the polygon {short_repr(outline)} is not [x1, y1, x2, y2, ...]") from None
    for name, values, side in zip("xy", points_N2.T, reversed(size), strict=True):
        if wrong := values[~((values >= -side) & (values <= 2 * side))].tolist():
            raise ValueError(f"a polygon has {name}={wrong[0]:g}, but the image is {size[1]}x{size[0]}")
    if (length := np.abs(np.diff(points_N2, axis=0)).sum()) > MAX_LENGTH:
        raise ValueError(
            f"its {len(outline)} polygons have a total length of {length:.0f} pixels, more than {MAX_LENGTH}"
        )
    if not drawn:
        return Outline(0, lambda: np.zeros(size, bool))
    codes: Sequence[Any] = rle.frPyObjects(cast(Any, drawn), *size)
    while len(codes) > 1:
        codes = [
            rle.merge(cast(Any, codes[start : start + MERGED_AT_ONCE]))
            for start in range(0, len(codes), MERGED_AT_ONCE)
        ]
    return Outline(int(rle.area(codes[0])), lambda: rle.decode(codes[0]).astype(bool))


def _from_runs(outline: dict[str, Any], size: tuple[int, int]) -> Outline:
    """Decode an RLE: lengths of alternating runs of 0 and 1, column by column, each from top to bottom."""
    own, counts = outline.get("size"), outline.get("counts")
    if own != list(size):
        theirs = f"{own[1]}x{own[0]}" if isinstance(own, list) and len(own) == len(size) else short_repr(own)
        raise ValueError(f"a run-length code is for a {theirs} image, but the image is {size[1]}x{size[0]}")
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    pixels = size[0] * size[1]
    if (
        not isinstance(lengths, list)
        or any(type(length) is not int or not 0 <= length <= pixels for length in lengths)
        or sum(lengths) != pixels
    ):
        raise ValueError(f"the run-length code {short_repr(counts)} does not add up to {size[1]}x{size[0]} pixels")
    runs = np.array(lengths, np.int64)
    inside = np.arange(len(runs)) % 2 == 1
    return Outline(int(runs[inside].sum()), lambda: np.repeat(inside, runs).reshape(size[::-1]).T)


def _decompressed(text: str) -> list[int]:
    """Run lengths of a compressed RLE: 5 bits per character, low bits first.

    From the fourth on, lengths are relative to the last but one. A truncated or invalid text gives a negative length,
    which the caller refuses.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > MAX_BITS:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return [-1] if shift else lengths
