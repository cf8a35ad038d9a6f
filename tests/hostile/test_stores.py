"""Whatever a store's records say, what comes out of it is what was put in, or one error that says what is wrong.

Nothing outside of a store is ever opened, and `verify` finds every change that something else in the store contradicts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from attn import store as maps
from attn.errors import AttnError
from attn.store import MapStore
from attn.store.backends import Backend, LocalBackend, connect
from attn.store.errors import DamagedError
from attn.store.upkeep.verify import Report
from tests.hostile.stores import CHANGES, FREE, ON_DISK, STORES, Objects, record_changes, template
from tests.store.memory import MemoryBackend
from tests.store.small import COUNT, values

BOTH = np.maximum(values(0), values(1))
LONGEST = 600


def in_memory(objects: Objects) -> MemoryBackend:
    backend = MemoryBackend()
    for key, data in objects.items():
        backend.objects[key], backend.dates[key] = data, backend.clock
    return backend


def uses(backend: Backend, folder: Path) -> dict[str, Callable[[], object]]:
    """Every way of using a store, each from its opening on."""

    def begin() -> None:
        session = maps.open(backend).begin("run", from_version=3)
        session.commit(2, [], expected=None)

    def fork() -> None:
        maps.open(backend).fork(4, "other")

    def image() -> object:
        snapshot = maps.open(backend).at(4)
        return snapshot[next(iter(snapshot))]

    def read(store: MapStore) -> np.ndarray:
        return store.at().rows(0, COUNT)[1]

    return {
        "newest": lambda: read(maps.open(backend)),
        "whole": lambda: np.concatenate([item for _, _, item in maps.open(backend).at(4).shards()]),
        "image": image,
        "digest": lambda: maps.open(backend).at().digest(),
        "history": lambda: maps.open(backend).history(),
        "tags": lambda: (maps.open(backend).tags, maps.open(backend).runs, maps.open(backend).head("run")),
        "export": lambda: maps.open(backend).export(str(folder / "out.npz"), form="npz"),
        "verify": lambda: maps.open(backend).verify(),
        "gc": lambda: maps.open(backend).gc(),
        "tag": lambda: maps.open(backend).tag("mine", 3),
        "fork": fork,
        "begin": begin,
    }


GOOD = {"newest": BOTH, "whole": BOTH}


def attempt(use: Callable[[], object]) -> object:
    """What came of it, or the one error that said why nothing did."""
    try:
        return use()
    except AttnError as error:
        result = error
    assert 0 < len(str(result)) < LONGEST, str(result)
    assert "\n" not in str(result)
    return result


def faults(outcome: object) -> list[str]:
    """What `verify` has outcome."""
    if isinstance(outcome, AttnError):
        return [str(outcome)]
    assert isinstance(outcome, Report)
    assert all(len(fault) < LONGEST for fault in outcome.faults)
    return outcome.faults


def check(backend: Backend, folder: Path, ways: tuple[str, ...] = ()) -> dict[str, object]:
    """Use a store in every way; what is read must be right where it is not refused."""
    results: dict[str, object] = {}
    for name, use in uses(backend, folder).items():
        if not ways or name in ways:
            results[name] = attempt(use)
            if name in GOOD and not isinstance(results[name], AttnError):
                read = results[name]
                assert isinstance(read, np.ndarray)
                if read.shape == BOTH.shape:
                    np.testing.assert_array_equal(read, GOOD[name], err_msg=name)
    return results


def test_the_good_store_is_good(tmp_path: Path) -> None:
    result = check(in_memory(template()), tmp_path)
    assert not [name for name, one in result.items() if isinstance(one, AttnError)], result
    assert faults(result["verify"]) == []


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "good"])
def test_a_signed_change_is_named(name: str, tmp_path: Path) -> None:
    objects = template()
    CHANGES[name](objects, np.random.default_rng(0))
    result = check(in_memory(objects), tmp_path)
    assert faults(result["verify"]), "verify says that all is well"


def test_every_field_of_every_record(tmp_path: Path) -> None:
    """No value of any field gives anything but right maps or one error; what contradicts the rest is found."""
    count = 0
    for key, path, name, change in record_changes():
        objects = template()
        change(objects, np.random.default_rng(0))
        if objects == template():
            continue
        count += 1
        try:
            result = check(in_memory(objects), tmp_path, ("newest", "verify", "begin"))
            if path[0] not in FREE.get(key, ()):
                assert faults(result["verify"]), "verify says that all is well"
        except Exception as error:
            error.add_note(name)
            raise
    assert count > 300


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every path that this process opens meanwhile."""
    results: list[str] = []
    on = [True]

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if on[0] and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            results.append(os.path.realpath(os.fsdecode(arguments[0])))

    sys.addaudithook(note)  # for ever, so it is told when to stop
    yield results
    on[0] = False


@pytest.mark.parametrize("name", [name for name in STORES if name in ON_DISK or "out" in name or "path" in name])
def test_nothing_outside_of_a_folder_is_opened(name: str, tmp_path: Path, opened: list[str]) -> None:
    folder = tmp_path / "store"
    STORES[name](folder, np.random.default_rng(0))
    del opened[:]
    result = check(LocalBackend(str(folder)), tmp_path)
    assert faults(result["verify"]), "verify says that all is well"
    outside = [path for path in opened if "-outside-" in path or path.startswith("/etc/passwd")]
    assert outside == []


def test_nothing_outside_of_a_folder_is_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    backend = LocalBackend(str(tmp_path / "store"))
    backend.write("a/b", b"1")
    (tmp_path / "store" / "base").symlink_to(outside)
    (tmp_path / "store" / "a" / "c").symlink_to(outside / "kept")
    with pytest.raises(DamagedError, match="is a symbolic link"):
        backend.delete("base/kept")
    backend.delete("a/c")  # a link is taken away, and what it leads to stays
    backend.delete("a/b")
    assert backend.list("a/") == []
    assert (outside / "kept").read_bytes() == b"kept"


def test_an_object_store_is_read_alike(s3_server: str, tmp_path: Path) -> None:
    backend = connect(f"{s3_server}/store")
    for key, data in template().items():
        backend.write(key, data)
    for name in ("a base object out of the store", "a row of level 200", "a definition that is a list"):
        objects = template()
        CHANGES[name](objects, np.random.default_rng(0))
        changed = [key for key in objects if objects[key] != template()[key]]
        for key in changed:
            backend.write(key, objects[key])
        result = check(backend, tmp_path, ("whole", "verify"))
        assert isinstance(result["whole"], AttnError)
        assert faults(result["verify"]), name
        for key in changed:
            backend.write(key, template()[key])
    assert faults(check(backend, tmp_path, ("verify",))["verify"]) == []
