"""Lost objects, a full disk, stale sessions and clock jumps: the result is a correct store or one clear error."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from attn import store as maps
from attn.store.backends import LocalBackend
from attn.store.protocol import failpoints
from tests.store.small import COUNT, at, new_store, one_epoch, values, whole_run

KINDS = ("base", "delta", "fence", "heads", "index", "manifest", "store.json", "version")
BOTH = np.maximum(values(0), values(1))


def stored(store: maps.MapStore, version: int | None = None) -> np.ndarray:
    return store.at(version).rows(0, COUNT)[1]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_a_lost_object_gives_the_newest_version_or_a_clear_error(tmp_path: Path) -> None:
    """Without one of its objects, a store returns the newest version unchanged, or names the missing object."""
    store = whole_run(str(tmp_path / "store"))
    seen = {path.relative_to(store.uri).parts[0] for path in files(Path(store.uri))}
    assert seen == set(KINDS)
    messages: set[str] = set()
    for path in files(Path(store.uri)):
        content = path.read_bytes()
        path.unlink()
        try:
            assert np.array_equal(stored(maps.open(store.uri)), BOTH), path
            assert np.array_equal(stored(maps.open(store.uri), 4), BOTH), path
        except maps.StoreError:
            messages.add(path.relative_to(store.uri).parts[0])
        path.write_bytes(content)
    assert messages == {"base", "fence", "heads", "index", "manifest", "store.json", "version"}
    assert store.verify().ok


def fill(folder: Path) -> Path:
    """A file that fills the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb") as stream:
        room = os.fstatvfs(stream.fileno())
        os.posix_fallocate(stream.fileno(), 0, room.f_bavail * room.f_frsize)
    return ballast


def test_a_full_disk_is_one_error(small_disk: Path) -> None:
    store = new_store(str(small_disk / "store"))
    session = store.begin("run")
    one_epoch(session, 0)
    writer = session.writer(0)
    writer.add_many(np.arange(COUNT), values(1))

    ballast = fill(small_disk)
    with pytest.raises(maps.StoreError, match=r"delta/.* cannot be written: No space left on device"):
        writer.seal(1)
    with pytest.raises(maps.StoreError, match="cannot be written: No space left on device"):
        store.begin("other")
    ballast.unlink()
    sealed = writer.seal(1)

    ballast = fill(small_disk)
    with pytest.raises(maps.StoreError, match=r"base/.* cannot be written: No space left on device"):
        session.commit(1, [sealed], expected=COUNT)
    assert np.array_equal(stored(store), values(0))
    ballast.unlink()
    session.commit(1, [sealed], expected=COUNT)
    assert np.array_equal(stored(store), BOTH)
    assert store.verify().ok
    assert not list(small_disk.rglob("*.part"))


@pytest.mark.parametrize(
    "point", ["merge.read", "merge.written", "commit.merged", "commit.covered", "commit.claimed", "commit.manifest"]
)
def test_a_session_that_becomes_stale_in_its_commit_leaves_no_version(tmp_path: Path, point: str) -> None:
    """A session leaves no version if another begins at any failpoint of its commit."""
    store = new_store(str(tmp_path / "store"))
    old = store.begin("run")
    first = one_epoch(old, 0)
    writer = old.writer(0)
    writer.add_many(np.arange(COUNT), np.full_like(values(1), 255))
    sealed = writer.seal(1)

    done = at(point, lambda: one_epoch(store.begin("run", from_version=first), 1))
    for late in (lambda: old.commit(1, [sealed], expected=COUNT), lambda: old.publish(), lambda: old.commit(2, [])):
        with pytest.raises(maps.FencedError, match="was restarted as session"):
            late()
    (newest,) = done
    assert store.at().version == newest
    assert store.head("run") == newest
    assert np.array_equal(stored(store), BOTH)
    assert all(living for _, living in store.history())
    assert store.verify().ok
    one_epoch(store.begin("run", from_version=store.head("run")), 2)
    assert np.array_equal(stored(store), np.maximum(BOTH, values(2)))


@dataclass(frozen=True)
class Shifted(LocalBackend):
    """A backend with a wrong clock."""

    seconds: float = 0.0

    def now(self) -> float:
        return super().now() + self.seconds


YEARS = 10 * 365 * 86400.0


@pytest.mark.parametrize("jump", [YEARS, -YEARS], ids=["ahead", "back"])
def test_the_clock_jumps(tmp_path: Path, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of sessions and versions, and running operations, do not depend on a clock."""
    uri = str(tmp_path / "store")
    store = new_store(uri)
    session = store.begin("run")
    first = one_epoch(session, 0)
    plain = time.time
    monkeypatch.setattr(time, "time", lambda: plain() + jump)
    writer = session.writer(0)
    writer.add_many(np.arange(COUNT), values(1))
    sealed = writer.seal(1)
    maps.open(Shifted(uri, jump)).gc(dry_run=False, keep=1)
    session.commit(1, [sealed], expected=COUNT)
    session.publish()
    monkeypatch.setattr(time, "time", plain)
    maps.open(Shifted(uri, jump)).gc(dry_run=False, keep=1)
    assert np.array_equal(stored(store), BOTH)
    again = store.begin("run", from_version=session.version)
    assert again.version > first
    with pytest.raises(maps.FencedError):
        session.commit(2, [])
    one_epoch(again, 2)
    assert np.array_equal(stored(store), np.maximum(BOTH, values(2)))
    assert store.verify().ok


def test_a_temporary_file_removed_by_a_collector_is_written_again(tmp_path: Path) -> None:
    """A collector with a fast clock removes a temporary file during a write; the file is written again."""
    store = new_store(str(tmp_path / "store"))
    done = at("write.part", lambda: maps.open(Shifted(store.uri, YEARS)).gc(dry_run=False))
    one_epoch(store.begin("run"), 0)
    assert len(done) == 1
    assert np.array_equal(stored(store), values(0))


def test_files_are_synced_before_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power failures leave no empty files: a file is synced before it is named, and its folder afterwards."""
    seen: list[str] = []
    for name in ("fsync", "link", "rename", "replace"):
        plain = getattr(os, name)

        def noted(*arguments: object, _plain: object = plain, _name: str = name, **more: object) -> object:
            target = os.readlink(f"/proc/self/fd/{arguments[0]}") if _name == "fsync" else os.fspath(arguments[1])
            kind = "folder" if os.path.isdir(target) else "file"
            seen.append(f"sync {kind}" if _name == "fsync" else "name")
            return _plain(*arguments, **more)

        monkeypatch.setattr(os, name, noted)
    backend = LocalBackend(str(tmp_path))
    backend.write("first", b"1")
    assert seen == ["sync file", "name", "sync folder"]
    seen.clear()
    backend.create("second", b"1")
    assert seen == ["sync file", "name", "sync folder"]
    seen.clear()
    backend.write("deep/er/third", b"1")
    assert seen == ["sync folder", "sync folder", "sync file", "name", "sync folder"]


def test_all_failpoints_are_listed_and_hit(tmp_path: Path) -> None:
    """A store's operations hit every listed failpoint, and no other."""
    met: set[str] = set()
    failpoints.install(met.add)
    store = whole_run(str(tmp_path / "store"))
    store.fork(4, "trial")
    store.begin("run", from_version=4)
    maps.open(Shifted(store.uri, YEARS)).gc(dry_run=False, keep=1)
    assert met == set(failpoints.POINTS)
