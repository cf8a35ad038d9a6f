"""The algebra of maps: how new maps are joined with a row's present state. Pure functions over arrays.

Shapes: N rows, P = h·w pixels of a map, S = ⌈P/8⌉ bytes of a bit per pixel.

A row's *level* is `NONE` (never written), `FALLBACK` or `ACCEPTED`. A higher level replaces a lower one; within a level
the fusion decides. With `max`, a row's state is (level, map), ordered by level, then pixel by pixel. This is a
join-semilattice with bottom (NONE, 0), so order, duplicates and grouping do not change the result. A pixel that a crop
did not see is 0, the bottom, and has no effect.

With `mean` (OAA eq. 10), a row's state represents the set of its accepted (epoch, map, seen pixels). Maps of the same
row and epoch are joined first: maps by `max`, seen pixels by union. So an epoch counts once, however often it is
merged, and only at the pixels that it saw. Stored are the sum over epochs and the number of epochs of each pixel, and
the map and seen pixels of the newest epoch, for joining further maps of that epoch. Epochs must not decrease. Fallback
maps are joined by `max`.
"""

from __future__ import annotations

__all__ = [
    "ACCEPTED",
    "FALLBACK",
    "FUSIONS",
    "MEAN_OF_FORMAT_1",
    "NONE",
    "Column",
    "Columns",
    "Fusion",
    "join",
    "mean_of",
    "pack_seen",
    "quantise",
]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attn.store.errors import DamagedError, MapError, StoreError

NONE, FALLBACK, ACCEPTED = 0, 1, 2
TOLERANCE = 1e-6
"""Resizing a map may round a value this far out of [0, 1]; such values are clipped."""

Columns = dict[str, NDArray[Any]]
"""Rows as parallel arrays: `level` (N,) and the fusion's columns, (N,), (N, P) or (N, S)."""

_MAX_EPOCHS = 2**16 - 1
_JOINS: dict[str, np.ufunc] = {"map": np.maximum, "seen": np.bitwise_or}


def quantise(maps: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert maps to uint8 by rint(255 x). Rounding is monotone, so it commutes with `max`.

    Args:
        maps: uint8, returned unchanged, or floats in [0, 1] with a tolerance of 1e-6.

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


def pack_seen(seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack (N, P) booleans into bits, (N, S)."""
    return np.packbits(seen, axis=1)


def join(rows: Columns, at: NDArray[np.intp], new: Columns) -> None:
    """Join new maps into rows, in place.

    Args:
        rows: Columns `level`, `map` and, if the fusion needs it, `seen`.
        at: (M,) row indices without duplicates.
        new: The same columns of M rows.
    """
    values = [(_JOINS[name], rows[name], new[name]) for name in rows if name != "level"]
    levels, old_levels, new_levels = rows["level"], rows["level"][at], new["level"]
    same = new_levels == old_levels
    if same.all():
        if len(at) and at[-1] - at[0] + 1 == len(at) and (at[1:] > at[:-1]).all():  # contiguous: no copies needed
            for fuse, old, added in values:
                slice_ = old[at[0] : at[-1] + 1]
                fuse(slice_, added, out=slice_)
        else:
            for fuse, old, added in values:
                old[at] = fuse(old[at], added)
        return
    higher = new_levels > old_levels
    for fuse, old, added in values:
        if higher.all():
            old[at] = added
        else:
            old[at[same]] = fuse(old[at[same]], added[same])
            old[at[higher]] = added[higher]
    levels[at] = np.maximum(old_levels, new_levels)


def _join_max(rows: Columns, at: NDArray[np.intp], new: Columns, _: int) -> None:
    join(rows, at, new)


def _join_mean(rows: Columns, at: NDArray[np.intp], new: Columns, epoch: int) -> None:
    if epoch >= _MAX_EPOCHS:
        raise MapError(f"maps are of epoch {epoch}; a mean takes at most {_MAX_EPOCHS} epochs")
    levels, maps, seen = new["level"], new["map"], new["seen"]
    old_levels, old_epochs = rows["level"][at], rows["epoch"][at]
    accepted = levels == ACCEPTED
    was_accepted = old_levels == ACCEPTED
    if (late := accepted & was_accepted & (old_epochs > epoch)).any():
        newest = int(old_epochs[late].max())
        raise MapError(f"maps are of epoch {epoch}, but epoch {newest} is already merged; a mean needs epochs in order")
    pixels = maps.shape[1]

    again = accepted & was_accepted & (old_epochs == epoch)
    if again.any():
        index = at[again]
        before, seen_before = rows["last"][index], rows["last_seen"][index]
        after = np.maximum(before, maps[again])
        rows["sum"][index] += (after - before).astype(np.uint32)
        rows["count"][index] += np.unpackbits((seen[again] & ~seen_before).view(np.uint8), axis=1, count=pixels)
        rows["last"][index] = after
        rows["last_seen"][index] = seen_before | seen[again]

    fresh = accepted & ~again
    if fresh.any():
        index, first = at[fresh], ~was_accepted[fresh]
        for name, added in (("sum", maps[fresh]), ("count", np.unpackbits(seen[fresh], axis=1, count=pixels))):
            total = rows[name][index]
            total[first] = 0
            rows[name][index] = total + added
        rows["last"][index] = maps[fresh]
        rows["last_seen"][index] = seen[fresh]
        rows["epoch"][index] = epoch
        rows["level"][index] = ACCEPTED

    fallback = (levels == FALLBACK) & ~was_accepted
    if fallback.any():
        index = at[fallback]
        rows["last"][index] = np.maximum(rows["last"][index], maps[fallback])
        rows["sum"][index] = rows["last"][index]
        rows["level"][index] = FALLBACK


def _refuse(rows: Columns, at: NDArray[np.intp], new: Columns, epoch: int) -> None:
    raise StoreError("stores of format 1 with fusion=mean are read-only")


def mean_of(rows: Columns) -> NDArray[np.uint8]:
    """The mean of each pixel, rounded to the nearest integer, halves to even; 0 for pixels that no map has seen.

    A row with only a fallback map has count 0, and that map as its sum.
    """
    counts = rows["count"].reshape(len(rows["count"]), -1)  # format 1 has one count per row
    means = rows["sum"] / np.maximum(counts, 1)
    if means.size and means.max() > 255:
        raise DamagedError(f"it has a mean of {means.max():.0f}; the maximum is 255")
    return np.rint(means).astype(np.uint8)


@dataclass(frozen=True)
class Column:
    """A named column of rows.

    Attributes:
        kind: NumPy type string.
        per: Values of a row: one per `row`, one per `pixel`, or one `bit` per pixel, packed into bytes.
    """

    name: str
    kind: str
    per: Literal["row", "pixel", "bit"]

    def width(self, pixels: int) -> int:
        """Number of values per row; 0 for a scalar column."""
        return {"row": 0, "pixel": pixels, "bit": -(-pixels // 8)}[self.per]

    def zeros(self, count: int, pixels: int) -> NDArray[Any]:
        """Zeros of shape (count,) or (count, width)."""
        width = self.width(pixels)
        return np.zeros((count, width) if width else count, self.kind)


_LEVEL, _MAP, _SEEN = Column("level", "u1", "row"), Column("map", "u1", "pixel"), Column("seen", "u1", "bit")


@dataclass(frozen=True)
class Fusion:
    """Rule by which a store joins maps.

    Attributes:
        added: Columns that writers provide.
        kept: Columns of a base object.
        join: Joins new maps of one epoch into rows, in place: (rows, at, added, epoch); `at` has no duplicates.
        maps: Computes the (N, P) uint8 maps that a snapshot returns.
        state: Columns that define a row's content; the others are only needed to join further maps.
    """

    added: tuple[Column, ...]
    kept: tuple[Column, ...]
    join: Callable[[Columns, NDArray[np.intp], Columns, int], None]
    maps: Callable[[Columns], NDArray[np.uint8]]
    state: tuple[str, ...]

    @property
    def tracks_seen(self) -> bool:
        """Return whether rows record which pixels were seen."""
        return _SEEN in self.added

    def empty(self, count: int, pixels: int) -> Columns:
        """`count` rows without maps."""
        return {column.name: column.zeros(count, pixels) for column in self.kept}


def _stored_map(rows: Columns) -> NDArray[np.uint8]:
    return rows["map"].view(np.uint8)


FUSIONS = {
    "max": Fusion((_LEVEL, _MAP), (_LEVEL, _MAP), _join_max, _stored_map, ("level", "map")),
    "mean": Fusion(
        (_LEVEL, _MAP, _SEEN),
        (
            _LEVEL,
            Column("epoch", "<i4", "row"),
            Column("sum", "<u4", "pixel"),
            Column("count", "<u2", "pixel"),
            Column("last", "u1", "pixel"),
            Column("last_seen", "u1", "bit"),
        ),
        _join_mean,
        mean_of,
        ("level", "count", "sum"),
    ),
}

MEAN_OF_FORMAT_1 = Fusion(
    (_LEVEL, _MAP),
    (
        _LEVEL,
        Column("count", "<u4", "row"),
        Column("epoch", "<i4", "row"),
        Column("sum", "<u4", "pixel"),
        Column("last", "u1", "pixel"),
    ),
    _refuse,
    mean_of,
    ("level", "count", "sum"),
)
"""Format 1 of `mean`: one count per row, so that unseen pixels of a crop counted as 0. Such stores are read-only."""
