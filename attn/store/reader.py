"""Read one version of a store.

Shapes: N rows, h×w grid, P = h·w.
"""

from __future__ import annotations

__all__ = ["Snapshot"]

import functools
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from attn.store.cache import ObjectCache, cache_for
from attn.store.errors import DamagedError, MapError, MissingError
from attn.store.format.algebra import Columns
from attn.store.format.base_object import ObjectReader, Table, read_base, read_batches, read_table
from attn.store.format.codec import rows_per_batch
from attn.store.format.manifest import Manifest, ShardRef
from attn.store.protocol.handle import StoreHandle

T = TypeVar("T")

_CACHED_READS = 8


class Snapshot:
    """The maps of one version. A version never changes; deltas that are not merged yet are not part of it.

    A snapshot can be pickled and used by several processes. Reading an image is one read of its record batches, each
    verified by its checksum. The most recently read batches are cached, so reading in the store's order decodes each
    batch once.

    Attributes:
        manifest: The objects and counts of the version.
    """

    def __init__(self, handle: StoreHandle, manifest: Manifest) -> None:
        self._handle, self.manifest = handle, manifest
        self._open()

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def run(self) -> str:
        return self.manifest.run

    @property
    def coverage(self) -> int:
        """Rows with an accepted map."""
        return self.manifest.accepted

    def __len__(self) -> int:
        return len(self._handle.index.images)

    def __iter__(self) -> Iterator[str]:
        return (image_id.decode() for image_id in self._handle.index.images)

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._handle.index.find(image_id) != (0, 0)

    def __getitem__(self, image_id: str) -> dict[int, NDArray[np.uint8]]:
        """An image's maps (h, w) by class index, without classes whose map is zero everywhere.

        Raises:
            KeyError: The store has no such image.
            DamagedError: An object is missing or damaged; the message names it and the version.
        """
        start, stop = self._handle.index.find(image_id)
        if start == stop:
            raise KeyError(image_id)
        _, maps = self.rows(start, stop)
        classes = self._handle.index.classes[start:stop].tolist()
        return {index: map_hw for index, map_hw in zip(classes, maps, strict=True) if map_hw.any()}

    def classes_of(self, image_id: str) -> tuple[int, ...]:
        """The classes for which the store has a row of this image; none for an image that it does not have."""
        start, stop = self._handle.index.find(image_id)
        return tuple(self._handle.index.classes[start:stop].tolist())

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Levels (N,) (see `attn.store.format.algebra`) and maps (N, h, w) of rows [start, stop).

        Raises:
            MapError: Not 0 ≤ `start` ≤ `stop` ≤ number of rows.
        """
        grid, shard_bounds = self._handle.definition.grid, self._handle.shard_bounds
        count = int(shard_bounds[-1])
        if not 0 <= start <= stop <= count:
            raise MapError(f"rows {start} to {stop} do not exist: the store has {count} rows, from 0")
        levels = np.zeros(stop - start, np.uint8)
        maps = np.zeros((stop - start, *grid), np.uint8)
        if start == stop:
            return levels, maps
        first, last = (int(np.searchsorted(shard_bounds, row, side="right")) - 1 for row in (start, stop - 1))
        for shard in range(first, last + 1):
            begin, end = max(start, int(shard_bounds[shard])), min(stop, int(shard_bounds[shard + 1]))
            if shard in self._refs and begin < end:
                levels[begin - start : end - start], result = self._rows_of_shard(shard, begin, end)
                maps[begin - start : end - start] = result.reshape(-1, *grid)
        return levels, maps

    def maps(self, numbers: Iterable[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Maps (N, h, w) of the rows with these numbers, in the order given."""
        wanted = self._handle.index.numbers(numbers if isinstance(numbers, np.ndarray) else list(numbers))
        result = np.zeros((len(wanted), *self._handle.definition.grid), np.uint8)
        for position in np.argsort(wanted, kind="stable").tolist():  # in the store's order each batch is decoded once
            row = int(wanted[position])
            result[position] = self.rows(row, row + 1)[1][0]
        return result

    def shards(self) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Iterate over all shards in row order: first row, levels (N,) and maps (N, h, w) of each."""
        grid = self._handle.definition.grid
        for start, rows in self._states():
            yield start, rows["level"].view(np.uint8), self._algebra.maps(rows).reshape(-1, *grid)

    def digest(self) -> str:
        """SHA-256 of the content: classes, grid, fusion, rows, and each row's state.

        The state is exact: level and map for `max`; level, number of epochs and sum for `mean`. The digest does not
        depend on layout, versions, runs or the data set's fingerprint.
        """
        definition = self._handle.definition
        names = self._algebra.state
        hashes = {name: hashlib.sha256() for name in names}
        for _, rows in self._states():
            for name in names:
                hashes[name].update(np.ascontiguousarray(rows[name]).reshape(-1).data)
        content = {
            "classes": definition.classes,
            "grid": definition.grid,
            "fusion": definition.fusion,
            "rows": definition.rows_digest,
            "state": {name: item.hexdigest() for name, item in hashes.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def _refs(self) -> dict[int, ShardRef]:
        """Base objects by shard, after the manifest was checked against the store's definition."""
        self._handle.check(self.manifest)
        return {ref.shard: ref for ref in self.manifest.shards}

    @property
    def _algebra(self) -> Any:
        return self._handle.definition.algebra

    def _states(self) -> Iterator[tuple[int, Columns]]:
        definition, shard_bounds = self._handle.definition, self._handle.shard_bounds
        for shard, start in enumerate(shard_bounds[:-1].tolist()):
            count = int(shard_bounds[shard + 1]) - start
            if shard in self._refs:
                ref, schema = self._refs[shard], definition.base_schema
                yield start, self._read(ref, partial(read_base, ref=ref, count=count, schema=schema))
            else:
                yield start, self._algebra.empty(count, definition.pixels)

    def _rows_of_shard(self, shard: int, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Levels (N,) and flat maps (N, P) of rows of one shard."""
        offset = int(self._handle.shard_bounds[shard])
        batch = rows_per_batch(self._handle.definition.base_schema)
        first, last = (start - offset) // batch, -(-(stop - offset) // batch)
        levels, maps = self._read_batches(shard, first, last)
        inside = slice(start - offset - first * batch, stop - offset - first * batch)
        return levels[inside], maps[inside]

    def _read_batches(self, shard: int, first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        wanted = (shard, first, last)
        with self._lock:
            if wanted in self._cached:
                self._cached.move_to_end(wanted)
                return self._cached[wanted]
        ref, shard_bounds = self._refs[shard], self._handle.shard_bounds
        count = int(shard_bounds[shard + 1] - shard_bounds[shard])
        schema = self._handle.definition.base_schema
        if shard not in self._tables:
            self._tables[shard] = self._read(ref, partial(read_table, ref=ref, count=count, schema=schema))
        table, only = self._tables[shard], self._algebra.state
        rows = self._read(ref, lambda source: read_batches(source, ref, table, first, last, count, schema, only=only))
        result = rows["level"].view(np.uint8), self._algebra.maps(rows)
        if (last - first) <= 2:
            with self._lock:
                self._cached[wanted] = result
                while len(self._cached) > _CACHED_READS:
                    self._cached.popitem(last=False)
        return result

    def _read(self, ref: ShardRef, read: Callable[[ObjectReader], T]) -> T:
        """Read an object; errors name object and version. If a cached copy is damaged, read the backend's object."""
        where = f"{self._handle.backend.uri}: {ref.key}, of version {self.version}"
        try:
            try:
                return read(self._source)
            except DamagedError:
                if not isinstance(self._source, ObjectCache):
                    raise
                self._source.forget(ref.key)
                return read(self._handle.backend)
        except MissingError:
            raise DamagedError(f"{where}, is missing") from None
        except DamagedError as error:
            raise DamagedError(f"{where}, is damaged: {error}") from None

    def _open(self) -> None:
        """Set up what is not pickled: cache, lock and decoded batches of this process."""
        self._source = cache_for(self._handle.backend, self.manifest.shards)
        self._lock = threading.Lock()
        self._tables: dict[int, Table] = {}
        self._cached: OrderedDict[tuple[int, int, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_handle": self._handle, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()
