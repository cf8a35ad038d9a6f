"""Reading one version of a store.

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
from attn.store.errors import DamagedError, MissingError
from attn.store.format.algebra import Columns
from attn.store.format.base_object import Reads, Table, read_base, read_blocks, read_table
from attn.store.format.codec import batch_of
from attn.store.format.manifest import Manifest, ShardRef
from attn.store.protocol.handle import StoreHandle

T = TypeVar("T")

_KEPT = 8


class Snapshot:
    """The maps of one version, which never changes. Deltas that wait to be merged are not part of it.

    It can be pickled and used by several processes. An image is one read of its record batches, each checked; the last
    ones that were read are kept, so reading in the store's order decodes each once.

    Attributes:
        manifest: What the version consists of.
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
        """An image's maps (h, w) by class; classes whose map is still zero everywhere are left out.

        Raises:
            KeyError: The store has no such image.
            DamagedError: An object is missing or damaged; names it and the version.
        """
        start, stop = self._handle.index.find(image_id)
        if start == stop:
            raise KeyError(image_id)
        _, maps = self.rows(start, stop)
        classes = self._handle.index.classes[start:stop].tolist()
        return {index: map_hw for index, map_hw in zip(classes, maps, strict=True) if map_hw.any()}

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Levels (N,) (see `attn.store.format.algebra`) and maps (N, h, w) of the rows from `start` to `stop - 1`."""
        grid, cuts = self._handle.definition.grid, self._handle.cuts
        levels = np.zeros(stop - start, np.uint8)
        maps = np.zeros((stop - start, *grid), np.uint8)
        first, last = (int(np.searchsorted(cuts, row, side="right")) - 1 for row in (start, max(start, stop - 1)))
        for shard in range(first, last + 1):
            begin, end = max(start, int(cuts[shard])), min(stop, int(cuts[shard + 1]))
            if shard in self._refs and begin < end:
                levels[begin - start : end - start], found = self._part(shard, begin, end)
                maps[begin - start : end - start] = found.reshape(-1, *grid)
        return levels, maps

    def maps(self, numbers: Iterable[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Maps (N, h, w) of rows by number, in the order given."""
        wanted = self._handle.index.numbers(numbers if isinstance(numbers, np.ndarray) else list(numbers))
        found = np.zeros((len(wanted), *self._handle.definition.grid), np.uint8)
        for position in np.argsort(wanted, kind="stable").tolist():  # in the store's order each batch is decoded once
            row = int(wanted[position])
            found[position] = self.rows(row, row + 1)[1][0]
        return found

    def shards(self) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        """All rows in order, a shard at a time: its first row, levels (N,) and maps (N, h, w)."""
        grid = self._handle.definition.grid
        for start, rows in self._states():
            yield start, rows["level"].view(np.uint8), self._algebra.maps(rows).reshape(-1, *grid)

    def digest(self) -> str:
        """SHA-256 of the content: classes, grid, fusion, rows, and each row's state.

        The state is exact: level and map with `max`; level, number of epochs and sum with `mean`. Layout, versions,
        runs and the data set's fingerprint do not enter.
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
            "state": {name: found.hexdigest() for name, found in hashes.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def _refs(self) -> dict[int, ShardRef]:
        """Base objects by shard, once they are known to be objects that this store can have."""
        self._handle.check(self.manifest)
        return {ref.shard: ref for ref in self.manifest.shards}

    @property
    def _algebra(self) -> Any:
        return self._handle.definition.algebra

    def _states(self) -> Iterator[tuple[int, Columns]]:
        definition, cuts = self._handle.definition, self._handle.cuts
        for shard, start in enumerate(cuts[:-1].tolist()):
            count = int(cuts[shard + 1]) - start
            if shard in self._refs:
                ref, schema = self._refs[shard], definition.base_schema
                yield start, self._read(ref, partial(read_base, ref=ref, count=count, schema=schema))
            else:
                yield start, self._algebra.empty(count, definition.pixels)

    def _part(self, shard: int, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Levels and flat maps of rows within one shard."""
        offset = int(self._handle.cuts[shard])
        batch = batch_of(self._handle.definition.base_schema)
        first, last = (start - offset) // batch, -(-(stop - offset) // batch)
        levels, maps = self._blocks(shard, first, last)
        inside = slice(start - offset - first * batch, stop - offset - first * batch)
        return levels[inside], maps[inside]

    def _blocks(self, shard: int, first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        wanted = (shard, first, last)
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
                return self._kept[wanted]
        ref, cuts = self._refs[shard], self._handle.cuts
        count = int(cuts[shard + 1] - cuts[shard])
        schema = self._handle.definition.base_schema
        if shard not in self._tables:
            self._tables[shard] = self._read(ref, partial(read_table, ref=ref, count=count, schema=schema))
        table, only = self._tables[shard], self._algebra.state
        rows = self._read(ref, lambda source: read_blocks(source, ref, table, first, last, count, schema, only=only))
        found = rows["level"].view(np.uint8), self._algebra.maps(rows)
        if (last - first) <= 2:
            with self._lock:
                self._kept[wanted] = found
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return found

    def _read(self, ref: ShardRef, read: Callable[[Reads], T]) -> T:
        """Read from an object, and say of which version it is where that fails."""
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
        """What each process has for itself."""
        self._source = cache_for(self._handle.backend, self.manifest.shards)
        self._lock = threading.Lock()
        self._tables: dict[int, Table] = {}
        self._kept: OrderedDict[tuple[int, int, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_handle": self._handle, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()
