"""A flipped bit, a lost byte or a lost object gives one error that names object and version, and never wrong maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn import store as maps
from attn.store import DamagedError, MapStore, StoreError, VersionError
from attn.store.backends import Backend
from attn.store.protocol import history
from attn.store.protocol.fence import Head
from tests.store.memory import MemoryBackend
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_map

T = TypeVar("T")


def damageable_store(fusion: str = "max") -> tuple[MapStore, Model]:
    """A store with a committed version of several shards, and a pending one on top."""
    store, model = new_store(fusion), Model(fusion)
    session, rng = store.begin("run"), np.random.default_rng(0)
    for epoch in range(2):
        writer = session.writer(0)
        for pair in PAIRS:
            new = random_map(rng)
            writer.add(*pair, new)
            if epoch == 0:
                model.add(pair, epoch, new)
        session.commit(epoch, [writer.seal()], pending=epoch == 1)
    return store, model


def keys(store: MapStore, folder: str) -> list[str]:
    return sorted(key for key in memory(store).objects if key.startswith(folder))


def flip(backend: MemoryBackend, key: str, bit: int) -> None:
    data = bytearray(backend.objects[key])
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    backend.objects[key] = bytes(data)


def cut(backend: MemoryBackend, key: str, length: int) -> None:
    backend.objects[key] = backend.objects[key][: length % len(backend.objects[key])]


def swap(backend: MemoryBackend, key: str, _: int) -> None:
    others = [other for other in backend.objects if other.split("/")[0] == key.split("/")[0] and other != key]
    backend.objects[key] = backend.objects[others[0]]


def outcome(work: Callable[[], T]) -> T | StoreError:
    """The result of a call, or its error: the damage may or may not affect it."""
    try:
        return work()
    except StoreError as error:
        return error


DAMAGE: list[Callable[[MemoryBackend, str, int], None]] = [flip, cut, swap]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(DAMAGE), st.sampled_from(["max", "mean"]), st.integers(0, 10**6), st.integers(0, 10))
def test_a_damaged_base_object_gives_no_wrong_map(
    damage: Callable[[MemoryBackend, str, int], None], fusion: str, position: int, which: int
) -> None:
    store, model = damageable_store(fusion)
    shards = keys(store, "base/")
    key = shards[which % len(shards)]
    damage(memory(store), key, position)
    snapshot = store.at(1)
    for image_id in {image_id for image_id, _ in PAIRS}:
        result = outcome(lambda image_id=image_id: snapshot[image_id])
        if isinstance(result, StoreError):
            assert isinstance(result, DamagedError)
            assert f"{key}, of version 1, is damaged" in str(result)
            continue
        for pair in PAIRS:
            if pair[0] == image_id:
                np.testing.assert_array_equal(result.get(pair[1], np.zeros(GRID)), model.map(pair))
    with pytest.raises(DamagedError, match=f"{key}, of version 1, is damaged"):
        snapshot.digest()
    (fault,) = store.verify().faults
    assert f"{key}, of versions 1, 2, is damaged" in fault
    session = store.begin("run", from_version=2)
    with pytest.raises(DamagedError, match=f"{key}, of version 2, is damaged"):
        session.commit(1, [])
    assert store.at().version == 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([flip, cut]), st.integers(0, 10**6))
def test_a_damaged_delta_is_not_merged(damage: Callable[[MemoryBackend, str, int], None], position: int) -> None:
    store, _ = damageable_store()
    pending = store.at(2).manifest.pending[0].objects[0].key
    untouched = memory(store).objects[pending]
    damage(memory(store), pending, position)
    assert [fault for fault in store.verify().faults if f"{pending}, of version 2, is damaged" in fault]
    session = store.begin("run", from_version=2)
    refused = outcome(lambda: session.commit(1, []))
    if isinstance(refused, StoreError):
        assert isinstance(refused, DamagedError)
        assert f"{pending}, a delta of version 2, is damaged" in str(refused)
        return
    damaged = store.at().digest()
    memory(store).objects[pending] = untouched
    again = store.begin("run", from_version=2)
    again.commit(1, [])
    assert store.at().digest() == damaged, "the damage lay outside of what a merge reads"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([flip, cut]), st.integers(0, 10**6), st.data())
def test_a_damaged_record_is_always_detected(
    damage: Callable[[MemoryBackend, str, int], None], position: int, data: st.DataObject
) -> None:
    store, model = damageable_store()
    store.tag("kept", 1)
    backend = memory(store)
    key = data.draw(
        st.sampled_from([key for key in sorted(backend.objects) if not key.startswith(("base/", "delta/"))])
    )
    before = backend.objects[key]
    damage(backend, key, position)

    def read() -> Sequence[str]:
        opened = maps.open(backend)
        for version in (1, 2):
            model.check(opened.at(version), opened)
        model.check(opened.at(), opened)
        faults = opened.verify().faults
        opened.begin("run", from_version=2)
        return faults

    faults = outcome(read)
    if isinstance(faults, StoreError):
        assert isinstance(faults, DamagedError) or "format" in str(faults), faults
        assert key in str(faults)
        return
    if key.startswith(("index/", "store.json", "manifest/", "heads/", "tags/", "version/")):
        assert faults, key
    backend.objects[key] = before
    assert maps.open(backend).verify().ok


def test_missing_objects_are_named() -> None:
    store, _ = damageable_store()
    backend = memory(store)
    base, pending = keys(store, "base/")[1], store.at(2).manifest.pending[0].objects[0].key
    kept = dict(backend.objects)

    del backend.objects[base]
    with pytest.raises(DamagedError, match=f"{base}, of version 1, is missing"):
        store.at(1).digest()
    assert store.verify().faults == [f"{store.uri}: {base}, of versions 1, 2, is missing"]
    backend.objects |= kept

    del backend.objects[pending]
    session = store.begin("run", from_version=2)
    with pytest.raises(DamagedError, match=f"{pending}, a delta of version 2, is missing"):
        session.commit(1, [])
    backend.objects |= kept

    (index,) = keys(store, "index/")
    del backend.objects[index]
    with pytest.raises(DamagedError, match="index of its rows, is missing"):
        maps.open(backend).at(1)["i00"]
    assert len(maps.open(backend).verify().faults) == 1
    backend.objects |= kept

    manifest = keys(store, "manifest/")[0]
    del backend.objects[manifest]
    with pytest.raises(VersionError, match="run run has no version 1"):
        store.at(1)


@pytest.mark.parametrize("tentative", [True, False])
def test_a_lost_or_older_head_hides_no_version(tentative: bool) -> None:
    store, model = new_store(), Model("max")
    backend = memory(store)

    def commit(session: maps.Session, epoch: int) -> int:
        writer, new = session.writer(0), random_map(np.random.default_rng(epoch))
        writer.add(*PAIRS[0], new)
        model.add(PAIRS[0], epoch, new)
        version = session.commit(epoch, [writer.seal()], tentative=tentative)
        session.publish(version)
        return version

    first = commit(store.begin("run"), 0)
    older = backend.objects["heads/run.json"]
    session = store.begin("run", from_version=first)
    newest = [commit(session, epoch) for epoch in (1, 2)][-1]
    model.check(store.at(), store)
    for head, wrong in ((None, "is missing"), (older, "is of session 1")):
        backend.objects.pop("heads/run.json", None)
        if head is not None:
            backend.objects["heads/run.json"] = head
        for read in (store.at, lambda: store.at(run="run"), store.history, store.gc):
            with pytest.raises(DamagedError, match=f"version {newest} is of session 2 of run run, .*run.json {wrong}"):
                read()
        assert wrong in "".join(store.verify().faults)
        model.check(store.at(newest), store)
    store.begin("run", from_version=newest)
    model.check(store.at(), store)
    assert store.verify().ok


def test_a_run_without_a_head_stops_readers_of_the_whole_store_only_if_it_may_have_the_newest_version() -> None:
    store = new_store()
    backend = memory(store)

    for run in ("old", "new", "empty"):
        session = store.begin(run)
        if run != "empty":
            session.publish(session.commit(0, [], tentative=True))
    for run, alone, whole in (("old", False, True), ("new", False, False), ("empty", True, True)):
        head = backend.objects.pop(f"heads/{run}.json")
        for fine, read in ((alone, lambda run=run: store.at(run=run)), (whole, store.at)):
            if fine:
                read()
            else:
                with pytest.raises(
                    DamagedError, match=rf"heads/{run}.json is missing: .* by its number, as in .*@\d; "
                ):
                    read()
        assert not whole or (store.at().version, store.at().run) == (2, "new")
        assert store.at(2).version == 2
        backend.objects[f"heads/{run}.json"] = head


def test_a_session_that_begins_while_the_head_is_read_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    store, begun = new_store(), list[maps.Session]()
    store.begin("run")
    read_head = history.read_head

    def slow(backend: Backend, run: str) -> tuple[Head, str] | None:
        result = read_head(backend, run)
        if len(begun) < 3:
            begun.append(store.begin("run"))
            begun[-1].publish(begun[-1].commit(0, [], tentative=True))
        return result

    monkeypatch.setattr(history, "read_head", slow)
    assert store.at().version == begun[-1].version == 3


def test_verify_lists_all_faults_at_once() -> None:
    store, _ = damageable_store()
    backend = memory(store)
    assert store.verify().ok
    first, second, third = keys(store, "base/")[:3]
    flip(backend, first, 1000)
    cut(backend, second, 100)
    del backend.objects[third]
    store.tag("gone", 2)
    flip(backend, keys(store, "tags/")[0], 300)
    flip(backend, keys(store, "manifest/run/")[1], 300)
    report = store.verify()
    text = "\n".join(report.faults)
    for key in (first, second, third, keys(store, "tags/")[0], keys(store, "manifest/run/")[1]):
        assert key in text
    assert len(report.faults) == 5, text
    assert (report.versions, report.objects) == (1, 3)


def test_counts_are_verified_too() -> None:
    """A manifest with correct hashes and wrong counts."""
    import dataclasses

    from attn.store.format.manifest import Manifest

    store, _ = damageable_store()
    key = keys(store, "manifest/run/")[1]
    manifest = Manifest.unpack(memory(store).objects[key], key)
    shard = dataclasses.replace(manifest.shards[0], accepted=1)
    delta = manifest.pending[0]
    wrong = dataclasses.replace(delta, objects=(dataclasses.replace(delta.objects[0], accepted=3),))
    changed = dataclasses.replace(manifest, shards=(shard, *manifest.shards[1:]), pending=(wrong,))
    memory(store).objects[key] = changed.pack()
    faults = store.verify().faults
    assert any("accepted and 0 fallback maps; its manifest says 1 and 0" in fault for fault in faults)
    assert any("accepted maps; its manifest says 3" in fault for fault in faults)
