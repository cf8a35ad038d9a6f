"""A reference model of a store: a dictionary of all maps ever added."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attn import store as maps
from attn.store import MapStore, Snapshot
from attn.store.format.algebra import ACCEPTED, FALLBACK, NONE
from tests.store.memory import MemoryBackend

Pair = tuple[str, int]
Map = NDArray[np.uint8]
GRID = (3, 4)
PAIRS: list[Pair] = [(f"i{number:02d}", index) for number in range(12) for index in range(number % 3 + 1)]


def new_store(fusion: str = "max", *, shard_rows: int = 8, pairs: list[Pair] | None = None) -> MapStore:
    """An empty store in memory, of several shards."""
    return maps.create(MemoryBackend(), rows=pairs or PAIRS, grid=GRID, fusion=fusion, shard_rows=shard_rows)


def memory(store: MapStore) -> MemoryBackend:
    backend = store._handle.backend
    assert isinstance(backend, MemoryBackend)
    return backend


def random_map(rng: np.random.Generator) -> Map:
    return rng.integers(0, 256, GRID, dtype=np.uint8)


def random_seen(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Parts of maps, like those of crops, and some that are whole or empty: bool (count, h, w)."""
    seen = np.zeros((count, *GRID), np.bool_)
    for one in seen:
        (top, bottom), (left, right) = (sorted(rng.integers(0, side + 1, 2)) for side in GRID)
        one[top:bottom, left:right] = True
    seen[rng.random(count) < 0.2] = True
    return seen


@dataclass
class Model:
    """Accepted maps of each row by epoch, where those of one epoch are joined by max, and its fallback.

    A pixel that a map did not see is NaN, which `fmax` and `nanmean` pass over.
    """

    fusion: str
    accepted: dict[Pair, dict[int, NDArray[np.float64]]] = field(default_factory=dict)
    fallbacks: dict[Pair, Map] = field(default_factory=dict)

    def add(
        self, pair: Pair, epoch: int, new: Map, *, seen: NDArray[np.bool_] | None = None, fallback: bool = False
    ) -> None:
        values = np.where(True if seen is None else seen, new.astype(np.float64), np.nan)
        if fallback:
            self.fallbacks[pair] = np.fmax(self.fallbacks.get(pair, 0), values).astype(np.uint8)
        else:
            of_row = self.accepted.setdefault(pair, {})
            of_row[epoch] = np.fmax(of_row.get(epoch, np.nan), values)

    def copy(self) -> Model:
        return copy.deepcopy(self)

    def level(self, pair: Pair) -> int:
        return ACCEPTED if pair in self.accepted else FALLBACK if pair in self.fallbacks else NONE

    def map(self, pair: Pair) -> Map:
        if pair in self.accepted:
            every = np.ma.masked_invalid(np.stack(list(self.accepted[pair].values())))
            joined = every.max(0) if self.fusion == "max" else every.mean(0)
            return np.rint(joined.filled(0)).astype(np.uint8)
        return self.fallbacks.get(pair, np.zeros(GRID, np.uint8))

    def check(self, snapshot: Snapshot, store: MapStore) -> None:
        """Assert that a version holds this and nothing else."""
        levels, result = snapshot.rows(0, len(store.rows))
        for row, pair in enumerate(store.rows):
            assert levels[row] == self.level(pair), pair
            np.testing.assert_array_equal(result[row], self.map(pair), err_msg=str(pair))
        assert snapshot.coverage == len(self.accepted)
