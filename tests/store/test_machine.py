"""A stateful test against a reference model: after any operations, a version has exactly its history's maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from attn.store import DeltaRef, FencedError, Session, StoreError, Writer
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_seen

DAY = 25 * 3600.0


class StoreMachine(RuleBasedStateMachine):
    """A run that dies, resumes from its checkpoint, meets its own stale sessions, and collects garbage in between."""

    @initialize(fusion=st.sampled_from(["max", "mean"]))
    def begin(self, fusion: str) -> None:
        self.store = new_store(fusion)
        self.session: Session = self.store.begin("run")
        self.ghosts: list[tuple[Session, list[DeltaRef]]] = []
        self.epoch = 0
        # What is committed, what is pending in it, and what is added since; and all of it at the last checkpoint.
        self.base, self.pending, self.version = Model(fusion), Model(fusion), 0
        self.checkpoint = (0, Model(fusion), Model(fusion), 0)
        # The head's version, and the one that readers get: the last one of the history that is published or final.
        self.head, self.readable = 0, (0, Model(fusion))
        self.writers: dict[int, Writer] = {}
        self.refs: list[DeltaRef] = []
        self.live = Model(fusion)
        self.history: dict[int, Model] = {}

    def writer(self, rank: int) -> Writer:
        return self.writers.setdefault(rank, self.session.writer(rank))

    @rule(rank=st.integers(0, 2), pairs=st.lists(st.sampled_from(PAIRS), min_size=1, max_size=5), data=st.data())
    def add(self, rank: int, pairs: list[tuple[str, int]], data: st.DataObject) -> None:
        seed, fallback = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 3)) == 0
        rng = np.random.default_rng(seed)
        new = rng.integers(0, 256, (len(pairs), *GRID), dtype=np.uint8)
        seen = random_seen(rng, len(pairs)) if data.draw(st.booleans()) else None
        self.writer(rank).add_many(pairs, new, seen_Nhw=seen, fallback=fallback)
        for number, (pair, one) in enumerate(zip(pairs, new, strict=True)):
            self.live.add(pair, self.epoch, one, seen=None if seen is None else seen[number], fallback=fallback)

    @rule(rank=st.integers(0, 2))
    def seal(self, rank: int) -> None:
        self.refs.append(self.writer(rank).seal())

    def sealed(self) -> list[DeltaRef]:
        self.refs += [writer.seal() for writer in self.writers.values()]
        return self.refs

    @rule(again=st.booleans(), tentative=st.booleans())
    def commit(self, again: bool, tentative: bool) -> None:
        refs = self.sealed()
        for model in (self.pending, self.live):
            merge_into(self.base, model)
        self.version = self.session.commit(self.epoch, refs + refs if again else refs, tentative=tentative)
        self.clear(tentative)
        self.epoch += 1

    @rule(tentative=st.booleans())
    def commit_pending(self, tentative: bool) -> None:
        merge_into(self.pending, self.live)
        self.version = self.session.commit(self.epoch, self.sealed(), pending=True, tentative=tentative)
        self.clear(tentative)

    def clear(self, tentative: bool) -> None:
        self.history[self.version] = self.base.copy()
        if not tentative:
            self.readable = (self.version, self.base.copy())
        self.live = Model(self.base.fusion)
        self.refs = []
        if self.session.pending == ():
            self.pending = Model(self.base.fusion)

    @rule(publish=st.booleans())
    def report_checkpoint(self, publish: bool) -> None:
        self.checkpoint = (self.version, self.base.copy(), self.pending.copy(), self.epoch)
        if publish:
            self.publish()

    @rule()
    def publish(self) -> None:
        """The last checkpoint's version, also when later ones are committed."""
        self.head, base, _, _ = self.checkpoint
        self.session.publish(self.head)
        if self.head > self.readable[0]:
            self.readable = (self.head, base.copy())

    @rule()
    def die_and_resume(self) -> None:
        self.ghosts.append((self.session, self.sealed()))
        self.version, base, pending, self.epoch = self.checkpoint
        self.base, self.pending = base.copy(), pending.copy()
        self.session = self.store.begin("run", from_version=self.version)
        self.head, self.readable = self.version, (self.version, self.base.copy())
        self.writers, self.refs, self.live = {}, [], Model(self.base.fusion)

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def ghost_comes_back(self, data: st.DataObject) -> None:
        ghost, refs = data.draw(st.sampled_from(self.ghosts))
        with pytest.raises(FencedError):
            ghost.commit(ghost.epoch + 1, refs)
        with pytest.raises(FencedError):
            ghost.publish()
        if refs:
            with pytest.raises(StoreError, match="deltas of this session"):
                self.session.commit(self.epoch, refs)

    @rule(keep=st.integers(1, 3), late=st.booleans())
    def collect(self, keep: int, late: bool) -> None:
        if late:
            memory(self.store).clock += DAY
        result = self.store.gc(dry_run=False, keep=keep)
        assert self.version not in result.versions
        assert self.checkpoint[0] not in result.versions
        assert self.readable[0] not in result.versions
        for version in result.versions:
            self.history.pop(version, None)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "store"):
            return
        self.base.check(self.store.at(self.version), self.store)
        version, base = self.readable
        assert self.store.at().version == version
        base.check(self.store.at(), self.store)
        assert self.store.head("run") == self.head

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        report = self.store.verify()
        assert report.ok, report.faults
        for version, model in self.history.items():
            model.check(self.store.at(version), self.store)


def merge_into(model: Model, other: Model) -> None:
    for pair, of_epoch in other.accepted.items():
        for epoch, new in of_epoch.items():
            seen = ~np.isnan(new)
            model.add(pair, epoch, np.where(seen, new, 0), seen=seen)
    for pair, new in other.fallbacks.items():
        model.add(pair, 0, new, fallback=True)


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStore = StoreMachine.TestCase
