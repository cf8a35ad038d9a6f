"""What a store must hold, kept the slow and plain way: a dictionary of every map that was ever added."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attn import store as maps
from attn.store import MapStore, Snapshot
from attn.store.algebra import ACCEPTED, FALLBACK, NONE
from tests.store.memory import MemoryBackend

Pair = tuple[str, int]
Map = NDArray[np.uint8]
GRID = (3, 4)
PAIRS: list[Pair] = [(f"i{number:02d}", index) for number in range(12) for index in range(number % 3 + 1)]


def new_store(fusion: str = "max", *, shard_rows: int = 8, pairs: list[Pair] | None = None) -> MapStore:
    """An empty store in memory, of several shards."""
    return maps.create(MemoryBackend(), rows=pairs or PAIRS, grid=GRID, fusion=fusion, shard_rows=shard_rows)


def memory(store: MapStore) -> MemoryBackend:
    backend = store._place.backend
    assert isinstance(backend, MemoryBackend)
    return backend


def random_map(rng: np.random.Generator) -> Map:
    return rng.integers(0, 256, GRID, dtype=np.uint8)


@dataclass
class Model:
    """Accepted maps of each row by epoch, where those of one epoch are joined by max, and its fallback."""

    fusion: str
    accepted: dict[Pair, dict[int, Map]] = field(default_factory=dict)
    fallbacks: dict[Pair, Map] = field(default_factory=dict)

    def add(self, pair: Pair, epoch: int, new: Map, *, fallback: bool = False) -> None:
        if fallback:
            self.fallbacks[pair] = np.maximum(self.fallbacks.get(pair, 0), new)
        else:
            of_row = self.accepted.setdefault(pair, {})
            of_row[epoch] = np.maximum(of_row.get(epoch, 0), new)

    def copy(self) -> Model:
        return copy.deepcopy(self)

    def level(self, pair: Pair) -> int:
        return ACCEPTED if pair in self.accepted else FALLBACK if pair in self.fallbacks else NONE

    def map(self, pair: Pair) -> Map:
        if pair in self.accepted:
            every = np.stack(list(self.accepted[pair].values())).astype(np.float64)
            return (every.max(0) if self.fusion == "max" else np.rint(every.mean(0))).astype(np.uint8)
        return self.fallbacks.get(pair, np.zeros(GRID, np.uint8))

    def check(self, snapshot: Snapshot, store: MapStore) -> None:
        """Assert that a version holds this and nothing else."""
        levels, found = snapshot.rows(0, len(store.rows))
        for row, pair in enumerate(store.rows):
            assert levels[row] == self.level(pair), pair
            np.testing.assert_array_equal(found[row], self.map(pair), err_msg=str(pair))
        assert snapshot.coverage == len(self.accepted)
