"""Garbage collection keeps what is needed, young, or possibly still being written, and removes the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from attn import store as maps
from attn.store import DamagedError, MapStore, Session, StoreError
from tests.store.model import GRID, PAIRS, memory, new_store

DAY = 24 * 3600.0


def commit(session: Session, epoch: int, seed: int | None = None) -> int:
    writer, rng = session.writer(0), np.random.default_rng(epoch if seed is None else seed)
    writer.add_many(PAIRS, rng.integers(0, 256, (len(PAIRS), *GRID), dtype=np.uint8))
    return session.commit(epoch, [writer.seal()])


def versions(store: MapStore) -> list[int]:
    return [manifest.version for manifest, _ in store.history()]


def test_nothing_younger_than_a_day_is_removed() -> None:
    store = new_store()
    session = store.begin("run")
    for epoch in range(6):
        commit(session, epoch)
        session.publish()
    memory(store).clock += DAY - 1000
    before = dict(memory(store).objects)
    assert store.gc(dry_run=False).keys == ()
    assert memory(store).objects == before
    memory(store).clock += 2000
    rehearsal = store.gc()
    assert memory(store).objects == before
    assert rehearsal.dry_run
    done = store.gc(dry_run=False)
    assert done.keys == rehearsal.keys
    assert (done.versions, done.kept) == ((1, 2, 3, 4), (5, 6))
    assert done.size == sum(len(before[key]) for key in before.keys() - memory(store).objects.keys())
    assert store.gc(dry_run=False).keys == ()
    assert store.verify().ok
    commit(session, 6)
    assert not [key for key in memory(store).objects if key.startswith("delta/")][1:], "merged deltas went"


def test_heads_tags_forks_and_versions_between_are_kept() -> None:
    store = new_store()
    session = store.begin("run")
    for epoch in range(8):
        version = commit(session, epoch)
        if epoch == 4:
            session.publish(version)
    store.tag("model", 2)
    fork = store.fork(3, "trial")
    digests = {version: store.at(version).digest() for version in versions(store)}
    memory(store).clock += 2 * DAY
    result = store.gc(dry_run=False, keep=1)
    # The head is 5; 6 and 7 lie between it and the newest: a durable checkpoint may name them.
    assert result.versions == (1, 4)
    assert versions(store) == [2, 3, 5, 6, 7, 8, fork]
    for version in versions(store):
        assert store.at(version).digest() == digests[version]
    assert store.verify().ok
    store.untag("model")
    session.publish()
    assert store.gc(dry_run=False, keep=1).versions == (2, 5, 6, 7)
    assert store.at(fork).digest() == digests[3]
    with pytest.raises(StoreError, match="no version 2"):
        store.at(2)


def test_a_run_that_never_publishes_keeps_all_that_it_committed() -> None:
    store = new_store()
    session = store.begin("run")
    for epoch in range(4):
        commit(session, epoch)
    memory(store).clock += 2 * DAY
    assert store.gc(keep=1).kept == (1, 2, 3, 4), "any of them may be the one that a checkpoint names"


def test_abandoned_versions_and_deltas_are_removed() -> None:
    store = new_store()
    old = store.begin("run")
    first = commit(old, 0)
    old.publish()
    orphan = commit(old, 1)
    old.writer(0).add(*PAIRS[0], np.ones(GRID))
    lost = old.writer(1)
    lost.add(*PAIRS[0], np.ones(GRID))
    sealed = lost.seal().objects[0].key
    new = store.begin("run", from_version=first)
    commit(new, 1, seed=9)
    memory(store).clock += 2 * DAY
    result = store.gc(dry_run=False)
    assert orphan in result.versions
    assert sealed in result.keys
    assert store.verify().ok
    assert commit(new, 2) > orphan


def test_objects_of_a_running_session_are_kept_whatever_the_clock_says() -> None:
    store = new_store()
    session = store.begin("run")
    first = commit(session, 0)
    writer = session.writer(0)
    writer.add_many(PAIRS, np.full((len(PAIRS), *GRID), 255, np.uint8))
    ref = writer.seal()
    memory(store).clock += 1000 * DAY
    assert store.gc(dry_run=False, keep=1).versions == ()
    session.commit(1, [ref], expected=PAIRS)
    assert store.at()[PAIRS[0][0]][PAIRS[0][1]].min() == 255
    half = session.writer(0)
    half.add(*PAIRS[0], np.zeros(GRID))
    session.commit(2, [half.seal()], pending=True)
    session.publish()
    memory(store).clock += 1000 * DAY
    assert first in store.gc(dry_run=False, keep=1).versions
    session.commit(2, [])
    assert store.verify().ok


def test_a_clock_that_went_back_removes_nothing() -> None:
    store = new_store()
    session = store.begin("run")
    for epoch in range(4):
        commit(session, epoch)
    memory(store).clock -= 1000 * DAY
    assert store.gc(dry_run=False).keys == ()


def test_nothing_is_removed_if_a_manifest_is_unreadable() -> None:
    store = new_store()
    session = store.begin("run")
    for epoch in range(4):
        commit(session, epoch)
    memory(store).clock += 2 * DAY
    key = next(key for key in sorted(memory(store).objects) if key.startswith("manifest/"))
    memory(store).objects[key] = memory(store).objects[key][:-20]
    before = dict(memory(store).objects)
    with pytest.raises(DamagedError, match=key):
        store.gc(dry_run=False)
    assert memory(store).objects == before
    with pytest.raises(StoreError, match="keep is 0"):
        store.gc(keep=0)


def test_temporary_files_of_dead_writers_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "s"
    store = maps.create(str(root), rows=PAIRS, grid=GRID)
    session = store.begin("run")
    for epoch in range(4):
        commit(session, epoch)
    session.publish()
    young, old = root / "base/00000/.x.arrow.1.part", root / "delta/run/.y.arrow.2.part"
    for path in (young, old):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * DAY
    for path in root.rglob("*"):
        if path != young:
            os.utime(path, (long_ago, long_ago))
    result = store.gc(dry_run=False)
    assert result.versions == (1, 2)
    assert young.exists()
    assert not old.exists()
    assert store.verify().ok
