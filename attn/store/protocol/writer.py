"""A worker's writer: buffers maps in memory and seals them into delta objects.

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
_MAX_SPARE_BYTES = 16 << 20


class Writer:
    """Buffers maps and seals them into delta objects.

    The buffer holds one map per row since the last seal. With `limit_bytes` it is written automatically whenever it
    reaches that size. A writer reads nothing that other writers write.

    Attributes:
        accepted: Number of accepted maps added so far.
        fallbacks: Number of fallback maps added so far.
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
        """Add one map; a second map of the same row is joined with the first.

        Args:
            map_hw: (h, w) uint8, or floats in [0, 1], stored as rint(255 x).
            seen_hw: (h, w) bool, True where the network saw the image, as `Geometry.to_image` returns it for a crop.
                Other pixels of the row do not change. None: the whole image was seen.
            fallback: Use the map only for a row without an accepted map; an accepted map replaces it.

        Raises:
            MapError: NaN or infinity, a wrong grid, a value out of range, or an unknown row.
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
        """Add several maps at once. If one is refused, none is added.

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
        """Write the maps added since the last seal. They are durable when it returns.

        Without new maps the result names no objects. After a failure the maps are still buffered; you can call it
        again.

        Args:
            epoch: Epoch of the maps. None: the epoch of the commit that takes them.
        """
        self._spill()
        sealed = DeltaRef(self.run, self.attempt, self.rank, epoch, tuple(self._sealed))
        self._sealed = []
        return sealed

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the maps that are not written yet."""
        return len(self._slots) * self._handle.definition.pixels

    def _clear(self) -> None:
        """Empty the buffer, keeping its memory. New maps overwrite old ones, so only levels are reset."""
        self._slots.clear()
        self._added["level"][:] = NONE

    def _add(
        self, rows: NDArray[np.int64], maps_Nhw: NDArray[Any], seen_Nhw: NDArray[Any] | None, *, fallback: bool
    ) -> None:
        pixels = self._handle.definition.pixels
        expected = (len(rows), *self._handle.definition.grid)
        if maps_Nhw.shape != expected:
            raise MapError(
                f"maps have shape {maps_Nhw.shape} for {len(rows)} rows; expected {expected}, because this store's "
                f"grid is {self._handle.definition.grid}: resize maps before adding them"
            )
        added: Columns = {
            "level": np.full(len(rows), FALLBACK if fallback else ACCEPTED, np.uint8),
            "map": quantise(maps_Nhw).reshape(len(rows), pixels),
        }
        if seen_Nhw is not None:
            if seen_Nhw.shape != expected or seen_Nhw.dtype != np.bool_:
                raise MapError(
                    f"seen is {seen_Nhw.dtype} {seen_Nhw.shape}; expected bool {expected}, one for each map value"
                )
            added["map"] = added["map"] * seen_Nhw.reshape(len(rows), pixels)
        if self._handle.definition.algebra.tracks_seen:
            seen = np.True_ if seen_Nhw is None else seen_Nhw.reshape(len(rows), pixels)
            added["seen"] = pack_seen(np.broadcast_to(seen, (len(rows), pixels)))
        names = rows.tolist()
        before, after = len(self._slots), len(self._slots) + len(names)
        if self._slots.keys().isdisjoint(names) and len(set(names)) == len(names):  # the usual case: no row repeats
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
        """Join maps of rows of which some are buffered already or given twice."""
        slots = np.array([self._slots.setdefault(row, len(self._slots)) for row in names], np.intp)
        self._grow(len(self._slots))
        rest = np.arange(len(slots))
        while len(rest):  # a row that is given twice takes two rounds
            _, first = np.unique(slots[rest], return_index=True)
            now = rest[first]
            join(self._added, slots[now], {name: values[now] for name, values in added.items()})
            rest = np.delete(rest, first)

    def _grow(self, count: int) -> None:
        capacity = len(self._added["level"])
        if count <= capacity:
            return
        step = max(1, _MAX_SPARE_BYTES // self._handle.definition.pixels)
        capacity = max(count, capacity + min(capacity, step))
        # In place: nothing else refers to the arrays. New values are zero.
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
            self._handle.shard_bounds,
        )
        failpoints.hit("seal.encoded")
        sealed, _ = overlap_io(describe, lambda: self._handle.backend.write(key, data))
        failpoints.hit("seal.written")
        self._sealed.append(sealed)
        self._clear()
