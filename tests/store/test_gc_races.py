"""Garbage collection at the same time as other operations: everything in use stays, whichever side is delayed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn import store as maps
from attn.store.protocol import failpoints
from tests.store.small import at

GRID = (3, 4)
ROWS = [(f"i{number:02d}", 0) for number in range(24)]


@pytest.fixture
def store(tmp_path: Path) -> maps.MapStore:
    return maps.create(str(tmp_path / "store"), rows=ROWS, grid=GRID, shard_rows=8)


def epoch_of(session: maps.Session, epoch: int, rows: range = range(24)) -> int:
    """A version with one more epoch's maps for some rows."""
    writer = session.writer(0)
    values = np.random.default_rng(epoch).integers(1, 256, (len(rows), *GRID), dtype=np.uint8)
    writer.add_many(np.array(rows), values)
    return session.commit(epoch, [writer.seal(epoch)])


def grow_old(store: maps.MapStore) -> None:
    """Two days pass."""
    for path in Path(store.uri).rglob("*"):
        if path.is_file():
            status = path.stat()
            os.utime(path, (status.st_atime - 2 * 86400, status.st_mtime - 2 * 86400))


def five_versions(store: maps.MapStore) -> list[int]:
    """One run's versions, all two days old; the first three are garbage."""
    session = store.begin("run")
    versions = [epoch_of(session, epoch) for epoch in range(5)]
    session.publish()
    grow_old(store)
    return versions


@pytest.mark.parametrize("point", ["gc.marked", "gc.tombstones", "gc.manifest", "gc.object"])
@pytest.mark.parametrize("how", ["fork", "begin", "tag"])
def test_an_old_version_that_is_used_during_collection_stays(store: maps.MapStore, point: str, how: str) -> None:
    versions = five_versions(store)
    wanted = versions[1]
    before = store.at(wanted).digest()
    want: Callable[[], object] = {
        "fork": lambda: store.fork(wanted, "trial"),
        "begin": lambda: store.begin("run", from_version=wanted),
        "tag": lambda: store.tag("kept", wanted),
    }[how]
    done = at(point, want)
    store.gc(dry_run=False)
    assert len(done) == 1
    if isinstance(done[0], Exception):
        # Refused in words, and nothing is left half done: everything that there is can be read.
        assert isinstance(done[0], maps.VersionError)
        assert store.tags == {}
    else:
        assert store.at(wanted).digest() == before
        grow_old(store)
        store.gc(dry_run=False)
        assert store.at(wanted).digest() == before
        if how == "begin":
            assert isinstance(done[0], maps.Session)
            epoch_of(done[0], 9)
    assert store.verify().ok, store.verify().faults
    store.at()


@pytest.mark.parametrize("point", ["fork.leased", "begin.leased", "begin.fenced"])
@pytest.mark.parametrize("dies", [False, True])
def test_collection_during_begin_and_fork(store: maps.MapStore, point: str, *, dies: bool) -> None:
    versions = five_versions(store)
    wanted = versions[1]
    before = store.at(wanted).digest()

    def collect() -> object:
        if dies:
            at("gc.tombstones", raise_out)
        return store.gc(dry_run=False)

    at(point, collect)
    try:
        if point == "fork.leased":
            store.fork(wanted, "trial")
        else:
            store.begin("run", from_version=wanted)
    except Killed:
        pass
    assert store.at(wanted).digest() == before
    assert store.verify().ok


class Killed(BaseException):
    """Kills a collector."""


def raise_out() -> None:
    raise Killed


def test_commits_while_garbage_is_marked(store: maps.MapStore) -> None:
    session = store.begin("run")
    first = epoch_of(session, 0)
    session.publish()
    grow_old(store)
    # The rest of the epochs touch one shard only: the new versions share the others with the first.
    at("gc.marked", lambda: [epoch_of(session, epoch, range(8)) for epoch in (1, 2, 3)])
    store.gc(dry_run=False, keep=1)
    assert store.verify().ok
    assert store.at().version == first + 3
    assert store.at(first).coverage == 24


def test_commits_between_listing_and_reading(store: maps.MapStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifests are listed before heads and fences are read."""
    from attn.store.upkeep import gc

    session = store.begin("run")
    versions = [epoch_of(session, epoch) for epoch in range(3)]
    session.publish(versions[0])
    grow_old(store)
    plain = gc._versions_to_keep

    def late(*arguments: object) -> set[int]:
        if session.version == versions[-1]:
            epoch_of(session, 3, range(8))
            epoch_of(session, 4, range(8))
        return plain(*arguments)

    monkeypatch.setattr(gc, "_versions_to_keep", late)
    store.gc(dry_run=False, keep=1)
    # The head lags: a checkpoint may name any version since.
    for version in (*versions, session.version):
        store.at(version).digest()
    assert store.verify().ok


def test_a_stale_session_does_not_refer_to_collected_objects(
    store: maps.MapStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks for newer sessions, is delayed for a day, and then writes its manifest."""
    from attn.store.protocol import session as module

    old = store.begin("run")
    writer = old.writer(0)
    writer.add_many(np.arange(24), np.full((24, *GRID), 7, np.uint8))
    sealed, real, looks = writer.seal(0), module.check_fence, list[int]()

    def stand_still(*arguments: Any) -> None:
        real(*arguments)
        looks.append(len(looks))
        if looks[-1] == 1:  # the look right before the manifest
            store.begin("run")
            grow_old(store)
            store.gc(dry_run=False)

    monkeypatch.setattr(module, "check_fence", stand_still)
    with pytest.raises(maps.FencedError, match="was restarted as session"):
        old.commit(0, [sealed], pending=True)
    assert looks == [0, 1]
    assert not store.history()
    assert store.verify().ok, store.verify().faults


def test_two_concurrent_collections(store: maps.MapStore) -> None:
    five_versions(store)
    for point in ("gc.marked", "gc.tombstones", "gc.manifest", "gc.object"):
        at(point, lambda: store.gc(dry_run=False))
        store.gc(dry_run=False)
        assert store.verify().ok


def test_leases_and_tombstones_of_dead_processes_are_removed(store: maps.MapStore) -> None:
    versions = five_versions(store)
    at("gc.tombstones", raise_out)
    with pytest.raises(Killed):
        store.gc(dry_run=False)
    failpoints.install(None)
    with pytest.raises(maps.VersionError, match="is being collected"):
        store.fork(versions[0], "trial")
    grow_old(store)
    assert store.fork(versions[0], "trial") > versions[-1]
    at("begin.leased", raise_out)
    with pytest.raises(Killed):
        store.begin("run", from_version=versions[1])
    failpoints.install(None)
    grow_old(store)
    store.gc(dry_run=False)
    left = {path.parent.name for path in Path(store.uri).rglob("*.json")}
    assert not left & {"pins", "notices"}
    assert store.verify().ok
