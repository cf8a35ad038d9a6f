"""Independent readers of what is exported: they share no code with the writers."""

from __future__ import annotations

__all__ = ["brush_pixels", "inside", "iou", "masked"]

from collections.abc import Sequence

import numpy as np

from attn.annotations import MaskedImage

SIZE = (48, 64)


def masked(name: str, mask: np.ndarray, scores: dict[int, float] | None = None) -> MaskedImage:
    """An image of the classes 0 (value 1) and 1 (value 2)."""
    return MaskedImage(name, f"{name}.png", mask, {1: 0, 2: 1}, lambda: name.encode(), scores or {})


def inside(polygon: Sequence[Sequence[float]] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie inside a polygon by the even-odd rule."""
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    result = np.zeros(size, bool)
    points = np.asarray(polygon, float)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:
            result ^= ((y1 > ys) != (y2 > ys)) & (xs < (x2 - x1) * (ys - y1) / (y2 - y1) + x1)
    return result


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def brush_pixels(code: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The opaque pixels of a brush stroke, as Label Studio's reader of @thi.ng/rle-pack decodes it."""
    bits, at = "".join(f"{byte:08b}" for byte in code), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    number, word = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < number:
        repeated = read(1)
        length = read(lengths[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(values) == number == size[0] * size[1] * 4
    rgba = np.array(values, np.uint8).reshape(*size, 4)
    assert (rgba == rgba[..., :1]).all()
    return rgba[..., 3] == 255
