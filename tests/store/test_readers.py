"""Which version readers get while a run commits, dies and is restarted."""

from __future__ import annotations

from typing import Any

import pytest

from attn.store import FencedError, Session, StoreError
from attn.store.protocol.leases import DAY_S
from tests.store.model import Model, memory, new_store
from tests.store.test_session import seal


def test_the_head_is_what_was_published() -> None:
    store, model = new_store(), Model("max")
    assert store.head("run") is None
    session = store.begin("run")
    assert store.head("run") == 0
    versions = [session.commit(epoch, [seal(session, model, epoch, epoch)]) for epoch in range(3)]
    session.publish(versions[1])
    assert store.head("run") == versions[1]
    assert store.at().version == versions[2]
    session.publish()
    for earlier in (versions[1], 0, versions[2]):
        session.publish(earlier)
        assert store.head("run") == versions[2]
    store.publish("run", versions[0])
    assert store.head("run") == versions[2]
    store.begin("run", from_version=versions[0])
    assert store.head("run") == versions[0]


def test_a_tentative_version_is_for_readers_once_it_is_published() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")

    def commit(session: Session, epoch: int, seed: int, **options: Any) -> int:
        return session.commit(epoch, [seal(session, model, epoch, seed)], tentative=True, **options)

    first = commit(session, 0, 0, metadata={"weights": "abc"})
    assert store.at().version == store.at(run="run").version == 0
    model.check(store.at(first), store)
    assert [live for _, live in store.history()] == [True]
    store.publish("run", first)  # as a driver does
    kept = model.copy()
    halves = [commit(session, 1, 1, pending=True), commit(session, 1, 2)]
    kept.check(store.at(), store)
    lost = Model("max")
    restarted = store.begin("run", from_version=first)
    assert store.at().version == first
    with pytest.raises(FencedError):
        store.publish("run", halves[1])
    model = kept
    second = restarted.commit(1, [seal(restarted, model, 1, 3)], tentative=True)
    third = restarted.commit(2, [seal(restarted, lost, 2, 4)], tentative=True)
    restarted.publish(second)
    model.check(store.at(), store)
    memory(store).clock += 2 * DAY_S
    assert store.gc(keep=1).kept == (first, second, third), "the newest durable checkpoint may name the third"
    with pytest.raises(StoreError, match=f"version {halves[1]} is none of session"):
        restarted.publish(halves[1])
    final = restarted.commit(3, [])
    assert store.at().version == final

    other = store.begin("other", from_version=third)
    assert store.at(run="other").version == other.version == third, "who begins from a version takes it as durable"
    fork = store.fork(third, "fork")
    assert store.at(run="fork").version == fork
    assert not store.at(fork).manifest.tentative
    assert store.at(fork).manifest.metadata == {}
    assert store.at(first).manifest.metadata["weights"] == "abc"
    with_its_key = restarted.commit(4, [], metadata={"attn.tentative": True, "weights": "def"})
    assert not store.at().manifest.tentative
    assert store.at(with_its_key).manifest.metadata == {"weights": "def"}
    restarted_again = store.begin("run", from_version=third)
    store.publish("run", third)
    assert restarted_again.version == store.head("run") == third
    assert store.verify().ok
