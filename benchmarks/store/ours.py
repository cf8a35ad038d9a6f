"""The map store as one of the layouts."""

from __future__ import annotations

__all__ = ["OURS", "BoundedMapStore", "MapStoreLayout"]

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from attn import store
from attn.store.protocol.merge import MergedShard, MergeTask
from benchmarks.store.layouts import Layout, Maps, Place, Rows
from benchmarks.store.maps import GRID, image_id


class MapStoreLayout:
    """One writer, one seal and one commit an epoch, coverage checked."""

    limit_bytes: int | None = None

    def __init__(self, place: Place) -> None:
        self._work = place.work
        self._store = store.create(str(place.folder / "store"), rows=place.work.pairs(), grid=GRID)
        self._session = self._store.begin("bench")
        self._writer = self._session.writer(0, limit_bytes=self.limit_bytes)
        self._expected = np.arange(place.work.rows)
        self._merges: list[tuple[float, float]] = []

    def step(self, epoch: int, rows: Rows, maps: Maps) -> None:
        self._writer.add_many(rows, maps)

    def end(self, epoch: int) -> None:
        sealed = self._writer.seal(epoch)
        self._session.commit(epoch, [sealed], expected=self._expected, map=self._timed)
        self._session.publish()

    def reader(self) -> Callable[[int], Maps]:
        snapshot = self._store.at()
        return lambda image: np.stack(list(snapshot[image_id(image)].values()))

    def figures(self) -> dict[str, Any]:
        """What is measured of this layout alone."""
        manifest = self._store.at().manifest
        rates = [self._work.rows / wall for wall, _ in self._merges]
        return {
            "merged_per_s": rates,
            "merged_per_cpu_s": [self._work.rows / cpu for _, cpu in self._merges],
            "objects": len(manifest.keys),
            "bytes": manifest.size,
        }

    def _timed(self, merge: Callable[[MergeTask], list[MergedShard]], tasks: Any) -> list[list[MergedShard]]:
        """The merge of an epoch on one core; notes its wall-clock and CPU seconds."""
        wall, cpu = time.perf_counter(), time.process_time()
        results = [merge(task) for task in tasks]
        self._merges.append((time.perf_counter() - wall, time.process_time() - cpu))
        return results


class BoundedMapStore(MapStoreLayout):
    """The same with a writer that seals by itself whenever 16 MiB wait."""

    limit_bytes = 16 * 2**20


OURS: dict[str, type[Layout]] = {"map store": MapStoreLayout, "map store, 16 MiB writer": BoundedMapStore}
