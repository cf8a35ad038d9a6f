"""Tells browsers by server-sent events that something has changed; all that follow the same thing share one look at it.

An event says only that there is something new. The browser then loads the page again and replaces what differs, so that
there is one way in which a page is made.
"""

from __future__ import annotations

__all__ = ["Watching"]

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field

from fastapi.responses import StreamingResponse

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
SHARE = 0.05
"""The largest share of a core that looking at one thing takes."""
ALIVE_SECONDS = 15.0
"""How often a comment is sent, by which a connection that is gone is noticed."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass
class _Topic:
    followers: int = 0
    version: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Watching:
    """What browsers follow now."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, _Topic] = {}

    def events(self, name: Hashable, version: Callable[[], str], known: str) -> StreamingResponse:
        """A stream of events, one whenever a version differs from the one before.

        Args:
            name: The same name stands for the same `version`.
            version: Reads a text that changes with the thing; called in a thread. While it fails, nothing is new.
            known: The version that the browser shows.
        """
        return StreamingResponse(self._stream(name, version, known), media_type="text/event-stream", headers=HEADERS)

    async def _stream(self, name: Hashable, version: Callable[[], str], known: str) -> AsyncIterator[str]:
        topic = self._topics.setdefault(name, _Topic())
        topic.followers += 1
        if topic.task is None:
            topic.task = asyncio.create_task(self._follow(topic, version))
        try:
            yield "retry: 2000\n\n"
            while True:
                if topic.version is not None and topic.version != known:
                    known = topic.version
                    yield f"event: change\ndata: {known}\n\n"
                changed = topic.changed
                try:
                    await asyncio.wait_for(changed.wait(), ALIVE_SECONDS)
                except TimeoutError:
                    yield ": alive\n\n"
        finally:
            topic.followers -= 1
            if topic.followers == 0:
                self._topics.pop(name, None)
                if topic.task is not None:
                    topic.task.cancel()

    async def _follow(self, topic: _Topic, version: Callable[[], str]) -> None:
        while True:
            begun = time.monotonic()
            try:
                new = await asyncio.to_thread(version)
            except Exception as error:  # of the table, the disk, or what lies there: the next look may succeed
                log.debug("cannot look for changes: %s", error)
                new = topic.version
            if new != topic.version:
                topic.version = new
                changed, topic.changed = topic.changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(max(POLL_SECONDS, (time.monotonic() - begun) / SHARE))
