"""Progress of a run that writes a map store in chunks of images.

The maps of finished chunks are recorded in tentative versions of the store, so that an interrupted run continues with
the chunks that it lacks. The last version merges all of them.
"""

from __future__ import annotations

__all__ = ["StoreProgress"]

import time
from typing import Any, Self

from attn.store import DeltaRef, MapStore, Session
from jobs.runs.run_folder import RunFolder

COMMIT_SECONDS = 10.0
"""Least time between two versions that record finished chunks."""


class StoreProgress:
    """Commits finished chunks, so that a later process can continue.

    Attributes:
        session: The right to write the run's maps.
        done: What was recorded of each finished chunk, by its number.
        waiting: Deltas of chunks that no version records yet.
    """

    def __init__(
        self, session: Session, folder: RunFolder, uri: str, key: str, mark: int | str, done: dict[int, dict[str, Any]]
    ) -> None:
        self.session, self.done = session, done
        self.waiting: list[DeltaRef] = []
        self._folder, self._uri, self._key, self._mark = folder, uri, key, mark
        self._last = time.monotonic()

    @classmethod
    def begin(cls, folder: RunFolder, opened: MapStore, key: str, mark: int | str) -> Self:
        """Begin a session of the run, or continue what an interrupted one has left.

        Args:
            key: Of the versions' metadata.
            mark: Of these chunks. What was recorded with another one does not count.
        """
        state, version, done = folder.state(), None, dict[int, dict[str, Any]]()
        if state.store == opened.uri and state.store_version:
            described = opened.at(state.store_version).manifest.metadata.get(key) or {}
            if described.get("mark") == mark:
                version = state.store_version
                done = {one["chunk"]: one for one in described["done"]}
        session = opened.begin(folder.run_id, from_version=version)
        return cls(session, folder, opened.uri, key, mark, done)

    def add(self, number: int, record: dict[str, Any], delta: DeltaRef) -> None:
        """Add a finished chunk.

        Args:
            record: What is to be known of it, as JSON values.
        """
        self.done[number] = {"chunk": number, **record}
        self.waiting.append(delta)
        if time.monotonic() - self._last >= COMMIT_SECONDS:
            # `done` grows, and a version does not.
            metadata = {self._key: {"mark": self._mark, "done": list(self.done.values())}}
            version = self.session.commit(0, self.waiting, pending=True, tentative=True, metadata=metadata)
            self._folder.update(store=self._uri, store_version=version)
            self.waiting, self._last = [], time.monotonic()
