"""A worker's writer: it gathers maps in memory and seals them into delta objects.

Shapes: N maps, h×w grid, P = h·w, S = ⌈P/8⌉ bytes of a bit per pixel.
"""

from __future__ import annotations

__all__ = ["Writer"]

import secrets
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attn.store.errors import MapError
from attn.store.format.algebra import ACCEPTED, FALLBACK, NONE, Columns, join, pack_seen, quantise
from attn.store.format.delta import DeltaObject, DeltaRef, encode_delta
from attn.store.protocol import failpoints
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.overlap_io import overlap_io

_FIRST_CAPACITY = 64
_MOST_SPARE_BYTES = 16 << 20


class Writer:
    """Takes maps and seals them.

    It holds one map per row since the last seal, so its memory is bounded by the seal interval; with `limit_bytes` it
    seals by itself whenever its maps reach that size. It reads nothing that others write.

    Attributes:
        accepted: Maps that were added so far.
        fallbacks: Fallback maps that were added so far.
    """

    def __init__(
        self,
        handle: StoreHandle,
        run: str,
        attempt: str,
        rank: int,
        *,
        limit_bytes: int | None = None,
    ) -> None:
        self._handle = handle
        self.run, self.attempt, self.rank, self.limit_bytes = run, attempt, rank, limit_bytes
        self.accepted = self.fallbacks = 0
        self._sealed: list[DeltaObject] = []
        self._slots: dict[int, int] = {}
        self._added: Columns = {
            column.name: column.zeros(_FIRST_CAPACITY, handle.definition.pixels)
            for column in handle.definition.algebra.added
        }

    def add(
        self,
        image_id: str,
        class_index: int,
        map_hw: ArrayLike,
        *,
        seen_hw: ArrayLike | None = None,
        fallback: bool = False,
    ) -> None:
        """Take one map; a second map of the same row joins the first.

        Args:
            map_hw: (h, w) uint8, or floats in [0, 1] (rounded to rint(255 x)).
            seen_hw: (h, w) bool, where the map has seen the image: as `Geometry.to_image` gives it of a crop. Elsewhere
                the row stays as it was. Left out, it has seen all of it.
            fallback: Only for a row that has no accepted map; any accepted map replaces it.

        Raises:
            MapError: NaN or infinity, another grid, out of range, or a row that the store does not have.
        """
        row = self._handle.index.row(image_id, class_index)
        seen = None if seen_hw is None else np.asarray(seen_hw)[None]
        self._add(np.array([row]), np.asarray(map_hw)[None], seen, fallback=fallback)

    def add_many(
        self,
        rows: Iterable[tuple[str, int]] | NDArray[np.integer],
        maps_Nhw: ArrayLike,
        *,
        seen_Nhw: ArrayLike | None = None,
        fallback: bool = False,
    ) -> None:
        """Take several maps at once; all of them, or none where one is refused.

        Args:
            rows: N (image id, class) pairs, or N row numbers as `store.rows.numbers` gives them.
            maps_Nhw: (N, h, w), values as for `add`.
            seen_Nhw: (N, h, w), as for `add`.

        Raises:
            MapError: As for `add`.
        """
        seen = None if seen_Nhw is None else np.asarray(seen_Nhw)
        self._add(self._handle.index.numbers(rows), np.asarray(maps_Nhw), seen, fallback=fallback)

    def seal(self, epoch: int | None = None) -> DeltaRef:
        """Write what was added since the last seal; durable when it returns. Without any, a reference to nothing.

        Where it fails the maps are kept, and it can be called again.

        Args:
            epoch: Of the maps; left out, the epoch of the commit that takes them.
        """
        self._spill()
        sealed = DeltaRef(self.run, self.attempt, self.rank, epoch, tuple(self._sealed))
        self._sealed = []
        return sealed

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the maps that wait for the next seal."""
        return len(self._slots) * self._handle.definition.pixels

    def _clear(self) -> None:
        """Forget the rows. Their memory is kept for the next ones, whose maps need no zeros before them."""
        self._slots.clear()
        self._added["level"][:] = NONE

    def _add(
        self, rows: NDArray[np.int64], maps_Nhw: NDArray[Any], seen_Nhw: NDArray[Any] | None, *, fallback: bool
    ) -> None:
        pixels = self._handle.definition.pixels
        expected = (len(rows), *self._handle.definition.grid)
        if maps_Nhw.shape != expected:
            raise MapError(
                f"maps have shape {maps_Nhw.shape} for {len(rows)} rows; this store's grid is "
                f"{self._handle.definition.grid}, so {expected} is expected: resize maps before they are added"
            )
        added: Columns = {
            "level": np.full(len(rows), FALLBACK if fallback else ACCEPTED, np.uint8),
            "map": quantise(maps_Nhw).reshape(len(rows), pixels),
        }
        if seen_Nhw is not None:
            if seen_Nhw.shape != expected or seen_Nhw.dtype != np.bool_:
                raise MapError(
                    f"seen is {seen_Nhw.dtype} {seen_Nhw.shape}; bool {expected} is expected, one for each map value"
                )
            added["map"] = added["map"] * seen_Nhw.reshape(len(rows), pixels)
        if self._handle.definition.algebra.knows_seen:
            seen = np.True_ if seen_Nhw is None else seen_Nhw.reshape(len(rows), pixels)
            added["seen"] = pack_seen(np.broadcast_to(seen, (len(rows), pixels)))
        names = rows.tolist()
        before, after = len(self._slots), len(self._slots) + len(names)
        if self._slots.keys().isdisjoint(names) and len(set(names)) == len(names):  # as in an epoch's every step
            self._grow(after)
            self._slots.update(zip(names, range(before, after), strict=True))
            for name, values in added.items():
                self._added[name][before:after] = values
        else:
            self._join(names, added)
        if fallback:
            self.fallbacks += len(rows)
        else:
            self.accepted += len(rows)
        if self.limit_bytes is not None and self.buffered_bytes >= self.limit_bytes:
            self._spill()

    def _join(self, names: list[int], added: Columns) -> None:
        """Join maps of rows some of which are there already, or are given twice."""
        slots = np.array([self._slots.setdefault(row, len(self._slots)) for row in names], np.intp)
        self._grow(len(self._slots))
        rest = np.arange(len(slots))
        while len(rest):  # a row that is given twice is taken in two rounds
            _, first = np.unique(slots[rest], return_index=True)
            now = rest[first]
            join(self._added, slots[now], {name: values[now] for name, values in added.items()})
            rest = np.delete(rest, first)

    def _grow(self, count: int) -> None:
        capacity = len(self._added["level"])
        if count <= capacity:
            return
        step = max(1, _MOST_SPARE_BYTES // self._handle.definition.pixels)
        capacity = max(count, capacity + min(capacity, step))
        # In place, without a copy: nobody else refers to the arrays. What is new is zero.
        for values in self._added.values():
            values.resize((capacity, *values.shape[1:]), refcheck=False)

    def _spill(self) -> None:
        """Write the buffer as one object."""
        if not self._slots:
            return
        count = len(self._slots)
        rows = np.fromiter(self._slots, np.int64, count)  # by slot
        key = f"delta/{self.run}/{self.attempt}/w{self.rank:03d}-{secrets.token_hex(8)}.arrow"
        describe, data = encode_delta(
            key,
            rows,
            self._added,
            np.argsort(rows),
            self._handle.definition.delta_schema,
            self._handle.cuts,
        )
        failpoints.hit("seal.encoded")
        sealed, _ = overlap_io(describe, lambda: self._handle.backend.write(key, data))
        failpoints.hit("seal.written")
        self._sealed.append(sealed)
        self._clear()
