"""Sessions: a version's history, who may commit, and that epochs are complete."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from attn.store import (
    CoverageError,
    DeltaRef,
    FencedError,
    Session,
    StoreError,
    VersionError,
)
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_map


def seal(session: Session, model: Model, epoch: int, seed: int, pairs: Iterable[tuple[str, int]] = PAIRS) -> DeltaRef:
    """One writer's epoch of random maps, also added to the model."""
    rng, writer = np.random.default_rng(seed), session.writer(0)
    for pair in pairs:
        new = random_map(rng)
        writer.add(*pair, new)
        model.add(pair, epoch, new)
    return writer.seal()


def test_versions_count_up_and_old_ones_stay() -> None:
    store, model = new_store(), Model("max")
    assert store.at().version == 0
    assert store.at()["i00"] == {}
    session, before = store.begin("run"), []
    for epoch in range(3):
        version = session.commit(epoch, [seal(session, model, epoch, epoch)], expected=PAIRS)
        before.append((version, model.copy()))
    assert [version for version, _ in before] == [1, 2, 3]
    for version, then in before:
        then.check(store.at(version), store)
    assert store.at().version == session.version == 3
    assert [manifest.parent for manifest, _ in store.history()] == [0, 1, 2]
    with pytest.raises(VersionError, match="no version 4"):
        store.at(4)
    with pytest.raises(VersionError, match="run other has no version 3"):
        store.at(3, run="other")


def test_an_abandoned_version_is_skipped_and_its_number_not_reused() -> None:
    store, model = new_store(), Model("max")
    first = store.begin("run")
    pinned = first.commit(0, [seal(first, model, 0, 0)])
    lost = Model("max")
    orphan = first.commit(1, [seal(first, lost, 1, 1)])
    assert store.at().version == orphan

    second = store.begin("run", from_version=pinned)
    assert store.at().version == pinned, "nobody has committed since the checkpoint"
    model.check(store.at(), store)
    version = second.commit(1, [seal(second, model, 1, 2)])
    assert version > orphan
    assert store.at(version).manifest.parent == pinned
    model.check(store.at(), store)
    assert [(manifest.version, live) for manifest, live in store.history()] == [(1, True), (2, False), (3, True)]


@pytest.mark.parametrize("naive", [False, True], ids=["as built", "naive control"])
def test_maps_of_repeated_steps_are_not_merged(naive: bool) -> None:
    """Steps after the checkpoint are repeated with other random numbers; their first maps must not remain."""
    store, model = new_store(), Model("max")
    first = store.begin("run")
    pinned = first.commit(0, [seal(first, model, 0, 0)])
    lost = seal(first, Model("max"), 1, 1)
    first.commit(1, [lost])
    second = store.begin("run", from_version=pinned)
    again = seal(second, model, 1, 2)
    if naive:  # merges whatever lies in the epoch's folder
        lost = DeltaRef(second.run, second.attempt, lost.rank, lost.epoch, lost.objects)
        second.commit(1, [again, lost])
        with pytest.raises(AssertionError):
            model.check(store.at(), store)
        return
    with pytest.raises(StoreError, match="commit only deltas of this session's writers"):
        second.commit(1, [again, lost])
    second.commit(1, [again])
    model.check(store.at(), store)


def test_a_stale_session_cannot_commit_or_publish() -> None:
    store, model = new_store(), Model("max")
    old = store.begin("run")
    version = old.commit(0, [seal(old, model, 0, 0)])
    old.publish()
    late = seal(old, Model("max"), 1, 1)
    new = store.begin("run", from_version=version)
    for act in (lambda: old.commit(1, [late]), lambda: old.commit(1, [late], pending=True), old.publish):
        with pytest.raises(FencedError, match="was restarted as session"):
            act()
    new.commit(1, [seal(new, model, 1, 2)])
    new.publish()
    model.check(store.at(), store)
    assert store.head("run") == new.version


def test_a_session_that_becomes_stale_after_its_check_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    store, model = new_store(), Model("max")
    old = store.begin("run")
    version = old.commit(0, [seal(old, model, 0, 0)])
    late = seal(old, Model("max"), 1, 1)
    new = store.begin("run", from_version=version)
    with monkeypatch.context() as patch:  # it looked, stood still, and goes on now
        for module in ("session", "fence"):
            patch.setattr(f"attn.store.protocol.{module}.check_fence", lambda *_: None)
        zombie = old.commit(1, [late])
        with pytest.raises(FencedError, match=r"run belongs to session 2; this process \(session 1\) is stale"):
            old.publish()
    assert zombie > new.version
    assert store.at().version == version, "a version with an old fence is in nobody's history"
    new.commit(1, [seal(new, model, 1, 2)])
    assert new.version > zombie
    model.check(store.at(), store)


def test_of_concurrent_sessions_one_can_commit() -> None:
    store = new_store()
    sessions = [store.begin("run") for _ in range(3)]
    for session in sessions[:-1]:
        with pytest.raises(FencedError):
            session.commit(0, [])
    sessions[-1].commit(0, [])
    store.begin("other").commit(0, [])
    sessions[-1].commit(1, [])


def test_pending_deltas_wait_for_the_next_commit_also_in_another_session() -> None:
    store, model = new_store("mean"), Model("mean")
    session = store.begin("run")
    session.commit(0, [seal(session, model, 0, 0)])
    merged = model.copy()
    half = session.commit(1, [seal(session, model, 1, 1, PAIRS[:7])], pending=True)
    merged.check(store.at(half), store)
    seal(session, Model("mean"), 1, 2)  # lost with its process

    session = store.begin("run", from_version=half)
    assert sum(ref.rows for ref in session.pending) == 7
    session.commit(1, [seal(session, model, 1, 3, PAIRS[7:9])], pending=True)
    # The first pairs come again: an epoch counts once.
    rest = seal(session, model, 1, 4, PAIRS[5:])
    session.commit(1, [rest], expected=PAIRS)
    assert session.pending == ()
    model.check(store.at(), store)
    session.commit(2, [seal(session, model, 2, 5)])
    model.check(store.at(), store)


def test_passing_a_delta_of_an_earlier_epoch_again_has_no_effect() -> None:
    store, model = new_store("mean"), Model("mean")
    session = store.begin("run")
    first = seal(session, model, 0, 0)
    session.commit(0, [first])
    session.commit(1, [first, seal(session, model, 1, 1)])
    session.commit(2, [first])
    model.check(store.at(), store)


def test_epochs_must_not_decrease() -> None:
    store = new_store()
    session = store.begin("run")
    session.commit(3, [])
    with pytest.raises(StoreError, match="epoch is 2, but epoch 3 is already committed"):
        session.commit(2, [])
    writer = session.writer(0)
    writer.add(*PAIRS[0], np.zeros(GRID, np.uint8))
    later = writer.seal(epoch=5)
    with pytest.raises(StoreError, match="is of epoch 5; a commit of epoch 4 after epoch 3"):
        session.commit(4, [later])
    session.commit(5, [later], expected=1)


EXPECTED: list[tuple[Any, int, int]] = [
    (PAIRS, 3, 0),
    (np.arange(len(PAIRS)), 3, 0),
    (len(PAIRS), 3, 0),
    (PAIRS[:-3], 0, 0),
    (len(PAIRS) - 3, 0, 0),
    (PAIRS[1:-3], 0, 1),
    (PAIRS[1:-2], 1, 1),
    (len(PAIRS) - 5, 0, 2),
]


@pytest.mark.parametrize(("expected", "missing", "extra"), EXPECTED)
def test_an_incomplete_epoch_is_not_committed(expected: Any, missing: int, extra: int) -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    delta = seal(session, model, 0, 0, PAIRS[:-3])
    if not missing and not extra:
        session.commit(0, [delta], expected=expected)
        assert store.at().manifest.merged["expected"] == len(PAIRS) - 3
        return
    with pytest.raises(CoverageError) as caught:
        session.commit(0, [delta], expected=expected)
    assert (caught.value.missing, caught.value.extra) == (missing, extra)
    assert pickle.loads(pickle.dumps(caught.value)).missing == missing
    if missing == 3 and not isinstance(expected, int):
        assert caught.value.rows == PAIRS[-3:]
        assert f"3 missing: {PAIRS[-3][0]} class {PAIRS[-3][1]}" in str(caught.value)
    assert store.at().version == session.version == 0
    session.commit(0, [delta, seal(session, model, 0, 1, PAIRS[-3:])], expected=PAIRS)
    model.check(store.at(), store)


def test_coverage_counts_an_epochs_rows_once_and_fallbacks_apart() -> None:
    store, session = (result := new_store()), result.begin("run")
    first, second = session.writer(0), session.writer(1)
    first.add_many(PAIRS[:4], np.zeros((4, *GRID), np.uint8))
    second.add_many(PAIRS[2:6], np.ones((4, *GRID), np.float16))
    second.add_many(PAIRS[3:9], np.ones((6, *GRID), np.uint8), fallback=True)
    refs = [first.seal(), second.seal()]
    assert [(ref.rows, ref.accepted) for ref in refs] == [(4, 4), (7, 4)]
    assert (second.accepted, second.fallbacks) == (4, 6)
    session.commit(0, refs, expected=9, metadata={"config": "abc"})
    manifest = store.at().manifest
    assert manifest.merged == {"rows": 9, "accepted": 6, "fallback": 3, "expected": 9, "deltas": 2}
    assert (manifest.accepted, manifest.fallback, manifest.metadata) == (6, 3, {"config": "abc"})
    session.commit(1, [], expected=0)
    assert (store.at().coverage, store.at().manifest.fallback) == (6, 3)


def test_an_accepted_map_replaces_a_fallback() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    pair, other = PAIRS[0], PAIRS[5]
    for epoch, (level, value) in enumerate([(True, 200), (True, 90), (False, 3), (True, 255), (False, 5)]):
        writer = session.writer(0)
        for target in (pair, *([other] if level else [])):
            new = np.full(GRID, value, np.uint8)
            writer.add(*target, new, fallback=level)
            model.add(target, epoch, new, fallback=level)
        session.commit(epoch, [writer.seal()])
        model.check(store.at(), store)
    assert store.at()[pair[0]][pair[1]].max() == 5
    assert store.at()[other[0]][other[1]].max() == 255


def test_a_failed_commit_can_be_repeated() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    delta = seal(session, model, 0, 0)

    def dies(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        done = [function(task) for task in tasks]
        raise RuntimeError(f"the cluster is gone after {len(done)} tasks")

    with pytest.raises(RuntimeError, match="cluster"):
        session.commit(0, [delta], map=dies)
    assert store.at().version == 0
    session.commit(0, [delta])
    model.check(store.at(), store)


def test_tasks_can_be_pickled_and_run_in_any_order_and_twice() -> None:
    store, model = new_store("max", shard_rows=2), Model("max")
    session = pickle.loads(pickle.dumps(store.begin("run")))

    def elsewhere(function: Callable[[Any], Any], tasks: Iterable[Any]) -> list[Any]:
        sent = [pickle.loads(pickle.dumps((function, task))) for task in tasks]
        assert len(sent) > 1
        results = [(run(task), run(task))[1] for run, task in reversed(sent)]
        return pickle.loads(pickle.dumps(results))

    for epoch in range(2):
        session.commit(epoch, [seal(session, model, epoch, epoch)], expected=PAIRS, map=elsewhere)
    model.check(store.at(), store)
    assert store.verify().ok


def test_a_fork_starts_with_another_runs_maps_without_copying() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    version = session.commit(0, [seal(session, model, 0, 0)])
    forked, objects = Model("max"), {key for key in memory(store).objects if key.startswith("base/")}
    forked = model.copy()
    trial = store.fork(version, "trial-7")
    assert {key for key in memory(store).objects if key.startswith("base/")} == objects
    assert store.at(trial).digest() == store.at(version).digest()
    assert (store.head("trial-7"), store.at(run="trial-7").version, store.runs) == (trial, trial, ["run", "trial-7"])
    with pytest.raises(StoreError, match="trial-7 has begun already"):
        store.fork(version, "trial-7")
    with pytest.raises(VersionError):
        store.fork(99, "trial-8")
    with pytest.raises(StoreError, match="letters, digits"):
        store.fork(version, "../trial")

    child = store.begin("trial-7", from_version=trial)
    child.commit(1, [seal(child, forked, 1, 7)])
    session.commit(1, [seal(session, model, 1, 8)])
    forked.check(store.at(run="trial-7"), store)
    model.check(store.at(run="run"), store)
    # A run may also go on from another's version without a fork.
    third = store.begin("trial-8", from_version=child.version)
    third.commit(2, [])
    assert store.at(run="trial-8").digest() == store.at(child.version).digest()
    assert store.at(third.version).manifest.parent == child.version


def test_tags_name_one_version() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    first, second = (session.commit(epoch, [seal(session, model, epoch, epoch)]) for epoch in range(2))
    store.tag("model-3", first)
    store.tag("model-3", first)
    with pytest.raises(StoreError, match="'model-3' names version 1"):
        store.tag("model-3", second)
    store.tag("best", second)
    assert store.tags == {"model-3": first, "best": second}
    store.untag("model-3")
    store.untag("model-3")
    assert store.tags == {"best": second}
    with pytest.raises(VersionError):
        store.tag("none", 77)
    with pytest.raises(StoreError, match="the empty version"):
        store.tag("none", 0)


def test_names_with_path_separators_are_refused() -> None:
    store = new_store()
    for name in ("", "a/b", "..", ".hidden", "x" * 129, "a b", "ü"):
        with pytest.raises(StoreError, match="letters, digits"):
            store.begin(name)
    with pytest.raises(VersionError):
        store.begin("run", from_version=5)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_the_number_of_workers_changes_nothing(fusion: str, world: int) -> None:
    def run(workers: int) -> str:
        store = new_store(fusion)
        session = store.begin("run")
        for epoch in range(3):
            rng = np.random.default_rng(epoch)
            order, new = rng.permutation(len(PAIRS)), rng.random((len(PAIRS), *GRID), np.float32)
            refs = []
            for rank in range(workers):
                # As a distributed sampler pads: some rows come twice.
                mine = np.resize(order, -(-len(PAIRS) // workers) * workers)[rank::workers]
                writer = pickle.loads(pickle.dumps(session)).writer(rank)
                for start in range(0, len(mine), 4):
                    rows = mine[start : start + 4]
                    writer.add_many(rows, new[rows])
                refs.append(writer.seal())
            session.commit(epoch, refs, expected=PAIRS)
        return store.at().digest()

    assert run(world) == run(1)


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", None])
def test_an_epoch_is_a_whole_number(epoch: Any) -> None:
    with pytest.raises(StoreError, match="whole number"):
        new_store().begin("run").commit(epoch, [])
