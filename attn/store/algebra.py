"""The algebra of maps: how new maps join what a row already holds. Pure functions over arrays.

Shapes: N rows, P = h·w pixels of a map.

A row's *level* is `NONE` (never written), `FALLBACK` or `ACCEPTED`. A higher level replaces a lower one; within a level
the fusion decides. With `max` a row is (level, map), ordered first by level, then pixel by pixel: a join-semilattice
with (NONE, 0) at its bottom, so order, duplicates and grouping cannot change a result.

With `mean` (OAA eq. 10) a row is the set of (epoch, map) that were accepted, where maps of one row and epoch join by
`max` first: an epoch counts once, however often it is merged. Kept are the sum over epochs, their number, and the
newest epoch with its map, which is what a further map of that epoch is joined with. Epochs must not go back. Fallback
maps join by `max`.
"""

from __future__ import annotations

__all__ = ["ACCEPTED", "FALLBACK", "FUSIONS", "NONE", "Columns", "Fusion", "join", "mean_of", "quantise"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.store.errors import MapError

NONE, FALLBACK, ACCEPTED = 0, 1, 2
TOLERANCE = 1e-6
"""How far rounding in the resizing of maps may carry a value out of [0, 1]; it is clipped."""

Columns = dict[str, NDArray[Any]]
"""Rows as parallel arrays: `level` (N,) and what the fusion keeps, (N,) or (N, P)."""


def quantise(maps: NDArray[Any]) -> NDArray[np.uint8]:
    """Maps as uint8: rint(255 x) for floats, which is monotone and so commutes with `max`; uint8 stays.

    Args:
        maps: uint8, or floats in [0, 1], which may exceed it by 1e-6.

    Raises:
        MapError: NaN, infinity, a value out of range, or another type.
    """
    if maps.dtype == np.uint8:
        return maps.view(np.uint8)
    if maps.dtype.kind != "f":
        raise MapError(f"maps are {maps.dtype}; they must be floats in [0, 1] or uint8")
    if maps.size == 0:
        return maps.astype(np.uint8)
    values = maps.astype(np.promote_types(maps.dtype, np.float32), copy=False)
    low, high = values.min(), values.max()  # both are NaN where any value is
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        if not np.isfinite(values).all():
            raise MapError("a map has NaN or infinity; the model has diverged, or a map was divided by its own zero")
        raise MapError(f"map values lie in [{low:.6g}, {high:.6g}]; they must lie in [0, 1]: use normalize_max")
    return np.rint(values * 255).clip(0, 255).astype(np.uint8)


def join(
    levels: NDArray[np.uint8],
    maps: NDArray[np.uint8],
    at: NDArray[np.intp],
    new_levels: NDArray[np.uint8],
    new_maps: NDArray[np.uint8],
) -> None:
    """Join maps into rows, in place.

    Args:
        levels: (N,).
        maps: (N, P).
        at: (M,) which rows, none twice.
        new_levels: (M,).
        new_maps: (M, P).
    """
    old_levels = levels[at]
    same = new_levels == old_levels
    if same.all():
        if len(at) and at[-1] - at[0] + 1 == len(at) and (at[1:] > at[:-1]).all():  # a stretch: without copies
            stretch = maps[at[0] : at[-1] + 1]
            np.maximum(stretch, new_maps, out=stretch)
        else:
            maps[at] = np.maximum(maps[at], new_maps)
        return
    higher = new_levels > old_levels
    if higher.all():
        maps[at] = new_maps
    else:
        maps[at[same]] = np.maximum(maps[at[same]], new_maps[same])
        maps[at[higher]] = new_maps[higher]
    levels[at] = np.maximum(old_levels, new_levels)


def _join_max(rows: Columns, at: NDArray[np.intp], levels: NDArray[np.uint8], maps: NDArray[np.uint8], _: int) -> None:
    join(rows["level"], rows["map"], at, levels, maps)


def _join_mean(
    rows: Columns, at: NDArray[np.intp], levels: NDArray[np.uint8], maps: NDArray[np.uint8], epoch: int
) -> None:
    old_levels, old_epochs = rows["level"][at], rows["epoch"][at]
    accepted = levels == ACCEPTED
    was_accepted = old_levels == ACCEPTED
    if (late := accepted & was_accepted & (old_epochs > epoch)).any():
        newest = int(old_epochs[late].max())
        raise MapError(f"maps of epoch {epoch} come after epoch {newest} was merged; a mean takes epochs in order")

    again = accepted & was_accepted & (old_epochs == epoch)
    if again.any():
        index = at[again]
        before = rows["last"][index]
        after = np.maximum(before, maps[again])
        rows["sum"][index] += (after - before).astype(np.uint32)
        rows["last"][index] = after

    fresh = accepted & ~again
    if fresh.any():
        index, first = at[fresh], ~was_accepted[fresh]
        total = rows["sum"][index].copy()
        total[first] = 0
        rows["sum"][index] = total + maps[fresh]
        rows["count"][index] = np.where(first, 1, rows["count"][index] + np.uint32(1))
        rows["last"][index] = maps[fresh]
        rows["epoch"][index] = epoch
        rows["level"][index] = ACCEPTED

    fallback = (levels == FALLBACK) & ~was_accepted
    if fallback.any():
        index = at[fallback]
        rows["last"][index] = np.maximum(rows["last"][index], maps[fallback])
        rows["sum"][index] = rows["last"][index]
        rows["level"][index] = FALLBACK


def mean_of(rows: Columns) -> NDArray[np.uint8]:
    """The mean of each row, rounded to the nearest integer, halves to even.

    A row with a fallback map has a count of 0 and that map as its sum.
    """
    return np.rint(rows["sum"] / np.maximum(rows["count"], 1)[:, None]).astype(np.uint8)


@dataclass(frozen=True)
class Fusion:
    """How a store joins maps.

    Attributes:
        columns: Name, type, and whether there is a value per pixel, of what a row keeps beside its level.
        join: Joins maps of one epoch into rows, in place: (rows, at, levels, maps, epoch); `at` names no row twice.
        maps: The (N, P) uint8 maps that a reader sees.
        state: The columns that make two stores equal; the others are needed for going on only.
    """

    columns: tuple[tuple[str, str, bool], ...]
    join: Callable[[Columns, NDArray[np.intp], NDArray[np.uint8], NDArray[np.uint8], int], None]
    maps: Callable[[Columns], NDArray[np.uint8]]
    state: tuple[str, ...]

    def empty(self, count: int, pixels: int) -> Columns:
        """`count` rows that hold nothing."""
        rows: Columns = {"level": np.zeros(count, np.uint8)}
        for name, kind, per_pixel in self.columns:
            rows[name] = np.zeros((count, pixels) if per_pixel else count, kind)
        return rows


def _stored_map(rows: Columns) -> NDArray[np.uint8]:
    return rows["map"].view(np.uint8)


FUSIONS = {
    "max": Fusion((("map", "u1", True),), _join_max, _stored_map, ("level", "map")),
    "mean": Fusion(
        (("count", "<u4", False), ("epoch", "<i4", False), ("sum", "<u4", True), ("last", "u1", True)),
        _join_mean,
        mean_of,
        ("level", "count", "sum"),
    ),
}
