"""A small store, and a run that uses all operations of a store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attn import store as maps
from attn.store.protocol import failpoints

GRID = (4, 5)
ROWS = [(f"image {number:02d}", index) for number in range(20) for index in (1, 3)]
COUNT = len(ROWS)


def values(epoch: int) -> np.ndarray:
    """(rows, h, w) of an epoch."""
    return np.random.default_rng(epoch).integers(0, 256, (COUNT, *GRID), dtype=np.uint8)


def new_store(uri: str) -> maps.MapStore:
    """An empty store of three shards."""
    return maps.create(uri, rows=ROWS, grid=GRID, shard_rows=16)


def one_epoch(session: maps.Session, epoch: int) -> int:
    """Two writers, a checkpoint in the middle, and the epoch's commit."""
    version = session.version
    for half in (range(0, COUNT, 2), range(1, COUNT, 2)):
        writer = session.writer(half.start)
        writer.add_many(np.array(half), values(epoch)[half.start :: 2])
        last = half.start == 1
        version = session.commit(epoch, [writer.seal(epoch)], pending=not last, expected=COUNT if last else None)
        session.publish(version)
    return version


def whole_run(uri: str) -> maps.MapStore:
    """A store with two epochs, in versions 1 to 4."""
    store = new_store(uri)
    session = store.begin("run")
    for epoch in range(2):
        one_epoch(session, epoch)
    return store


def at(point: str, act: Callable[[], object]) -> list[object]:
    """Call a function at the first hit of a failpoint; returns its result or exception."""
    done: list[object] = []

    def handle(name: str) -> None:
        if name == point and not done:
            failpoints.install(None)
            try:
                done.append(act())
            except maps.StoreError as error:
                done.append(error)
            failpoints.install(handle)

    failpoints.install(handle)
    return done
