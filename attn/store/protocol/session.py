"""A session: the process of a run that commits versions, and the writers that give it deltas."""

from __future__ import annotations

__all__ = ["Session"]

import dataclasses
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.store.errors import FencedError, StoreError
from attn.store.format.delta import DeltaRef
from attn.store.format.manifest import Manifest, ShardRef, claim, manifest_key
from attn.store.protocol import failpoints
from attn.store.protocol.coverage import check_coverage
from attn.store.protocol.fence import Fence, check_fence, publish
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.merge import MergedShard, MergeTask, merge, plan
from attn.store.protocol.writer import Writer

Rows = Iterable[tuple[str, int]] | NDArray[np.integer]
Map = Callable[[Callable[[MergeTask], list[MergedShard]], Sequence[MergeTask]], Iterable[list[MergedShard]]]


class Session:
    """The right to write a run, from one version on, until another session of the run begins.

    A session can be pickled and sent to workers, which create writers from it. Only one process may commit.

    Attributes:
        run: The run's name.
        attempt: The session's own name within the run; deltas of other attempts are refused.
        version: The newest version that the session committed; before the first commit, the one that it continues.
    """

    def __init__(self, handle: StoreHandle, fence: Fence, manifest: Manifest) -> None:
        self._handle, self._fence, self._manifest = handle, fence, manifest
        self._epochs: dict[str, int] = {}
        self._sha256 = {manifest.version: manifest.sha256}

    @property
    def run(self) -> str:
        return self._fence.run

    @property
    def attempt(self) -> str:
        return self._fence.attempt

    @property
    def version(self) -> int:
        return self._manifest.version

    @property
    def epoch(self) -> int:
        """The epoch that was committed last; -1 before the first."""
        return self._manifest.epoch

    @property
    def fallbacks(self) -> int:
        """Rows that hold a fallback map, and no accepted one, in that version."""
        return self._manifest.fallback

    @property
    def pending(self) -> tuple[DeltaRef, ...]:
        """Sealed deltas that the next commit merges."""
        return self._manifest.pending

    def writer(self, rank: int, *, limit_bytes: int | None = None) -> Writer:
        """Create a writer for one worker.

        Args:
            limit_bytes: Write a delta object automatically whenever this many bytes of maps are buffered.
        """
        return Writer(self._handle, self.run, self.attempt, rank, limit_bytes=limit_bytes)

    def commit(
        self,
        epoch: int,
        deltas: Iterable[DeltaRef],
        *,
        expected: Rows | int | None = None,
        pending: bool = False,
        tentative: bool = False,
        map: Map = map,
        metadata: dict[str, Any] | None = None,
    ) -> int:
        """Merge deltas into the newest version, and commit the result as a new version.

        Args:
            epoch: At least the last committed epoch.
            deltas: What this session's writers sealed since the last commit. Passing a delta again has no effect.
            expected: The rows that must have a map of this epoch, or their number.
            pending: Only record the deltas, for a checkpoint within an epoch. The next commit merges them.
            tentative: Until `publish` names the version or a later one, readers get it by its number only. For a run
                with checkpoints: if it dies before a durable checkpoint names the version, a restart abandons it.
            map: Replaces the built-in `map` for running merge tasks; may run them in other processes and in any order.
            metadata: JSON values to keep in the manifest. The key `attn.tentative` is the store's own: a value under it
                is left out.

        Returns:
            The new version's number.

        Raises:
            CoverageError: The epoch's rows are not the expected ones. Nothing is committed; you can call it again.
            FencedError: A newer session of the run has begun.
            DamagedError: An object to merge is missing or damaged.
            StoreError: The epoch decreases, a delta belongs to another session, or the backend fails.
        """
        if not isinstance(epoch, int) or epoch < 0:
            raise StoreError(f"epoch is {epoch!r}; it must be a whole number, at least 0")
        if epoch < self.epoch:
            raise StoreError(f"epoch is {epoch}, but epoch {self.epoch} is already committed; epochs must not decrease")
        given = [self._resolved(epoch, ref) for ref in deltas]
        check_fence(self._handle.backend, self.run, self._fence.number)
        # Deltas of earlier epochs were merged by earlier commits of this session.
        fresh = [ref for ref in given if ref.epoch is not None and ref.epoch >= self.epoch]
        all_deltas = _distinct([*self._manifest.pending, *fresh])
        marked = Manifest.with_mark(metadata, tentative=tentative)
        if pending:
            return self._write(epoch, self._manifest.shards, all_deltas, {}, marked, pending=True)

        tasks = plan(self._handle, self._manifest, all_deltas, epoch, self.attempt)
        merged = [shard for shards in map(merge, tasks) for shard in shards]
        failpoints.hit("commit.merged")
        counts = check_coverage(self._handle, merged, epoch, expected)
        failpoints.hit("commit.covered")
        shards = {ref.shard: ref for ref in self._manifest.shards} | {item.ref.shard: item.ref for item in merged}
        counts["deltas"] = sum(len(ref.objects) for ref in all_deltas)
        return self._write(epoch, tuple(shards[number] for number in sorted(shards)), all_deltas, counts, marked)

    def publish(self, version: int | None = None) -> None:
        """Make a version the run's head, once a durable checkpoint names it: readers get it and those before it.

        A version before the head has been published already; the head stays.

        Args:
            version: One of this session, or the one it began from; by default the newest.

        Raises:
            FencedError: Another session of the run has begun.
            StoreError: The session has no such version.
        """
        number = self.version if version is None else version
        if number not in self._sha256:
            raise StoreError(
                f"version {number} is none of session {self.attempt} of run {self.run}, which has "
                f"{', '.join(map(str, self._sha256))}"
            )
        publish(self._handle.backend, self.run, number, self._sha256[number], self._fence.number)

    def _resolved(self, epoch: int, ref: DeltaRef) -> DeltaRef:
        """A delta with its epoch: the writer's, else that of the first commit that took it, else this commit's."""
        if (ref.run, ref.attempt) != (self.run, self.attempt):
            raise StoreError(
                f"a delta of rank {ref.rank} belongs to session {ref.attempt} of run {ref.run}, but this is session "
                f"{self.attempt} of run {self.run}; commit only deltas of this session's writers"
            )
        known = next((self._epochs[item.key] for item in ref.objects if item.key in self._epochs), None)
        of_epoch = ref.epoch if ref.epoch is not None else epoch if known is None else known
        if of_epoch > epoch or (known is None and of_epoch < self.epoch):
            raise StoreError(
                f"a delta of rank {ref.rank} is of epoch {of_epoch}; a commit of epoch {epoch} after epoch "
                f"{self.epoch} takes only deltas of epochs {self.epoch} to {epoch}"
            )
        return dataclasses.replace(ref, epoch=of_epoch)

    def _write(
        self,
        epoch: int,
        shards: tuple[ShardRef, ...],
        deltas: Sequence[DeltaRef],
        counts: dict[str, int | None],
        metadata: dict[str, Any],
        *,
        pending: bool = False,
    ) -> int:
        number = claim(self._handle.backend, self.run, max(self.version, self._fence.floor))
        failpoints.hit("commit.claimed")
        check_fence(self._handle.backend, self.run, self._fence.number)
        manifest = Manifest(
            version=number,
            run=self.run,
            parent=self.version,
            parent_sha256=self._manifest.sha256,
            epoch=epoch,
            attempt=self.attempt,
            fence=self._fence.number,
            nonce=secrets.token_hex(16),
            created=time.time(),
            shards=shards,
            pending=tuple(deltas) if pending else (),
            consumed=() if pending else tuple(sorted(item.key for ref in deltas for item in ref.objects)),
            merged=counts,
            metadata=metadata,
        )
        key = manifest_key(self.run, number)
        if not self._handle.backend.create(key, manifest.pack()):
            raise StoreError(f"{self._handle.backend.uri}: {key} was written by another process")
        failpoints.hit("commit.manifest")
        try:
            check_fence(self._handle.backend, self.run, self._fence.number)
        except FencedError:
            # The collector may have removed this session's objects since the last check.
            self._handle.backend.delete(key)
            raise
        self._manifest = manifest
        self._sha256[number] = manifest.sha256
        self._epochs |= {item.key: ref.epoch for ref in deltas for item in ref.objects if ref.epoch is not None}
        return number


def _distinct(refs: Sequence[DeltaRef]) -> list[DeltaRef]:
    """Deltas with at least one object that no earlier delta of the list has."""
    seen: set[str] = set()
    results: list[DeltaRef] = []
    for ref in refs:
        keys = {item.key for item in ref.objects}
        if keys - seen:
            results.append(ref)
        seen |= keys
    return results
