"""A cache of answers for a fraction of a second: many identical requests at once cost little more than one."""

from __future__ import annotations

__all__ = ["ResponseCache"]

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 0.3
LARGEST = 1 << 16


@dataclass
class _Answer:
    """A cached answer, or one in preparation; `messages` stays empty if it cannot be reused."""

    begun: float
    messages: list[Message] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class ResponseCache:
    """Middleware that reuses answers to GET /jobs... for SECONDS, unless the job table has changed.

    The state of a run in such an answer may be that much older. Streams, errors and large answers are not cached. Add
    it inside the access control, so that only permitted clients get cached answers.
    """

    def __init__(self, app: ASGIApp, version: Callable[[], int]) -> None:
        """Wrap an application.

        Args:
            version: Returns a number that changes with every change of the job table.
        """
        self.app, self.version = app, version
        self.answers: dict[tuple[str, bytes, int], _Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/jobs"):
            await self.app(scope, receive, send)
            return
        key, now = (scope["path"], scope["query_string"], self.version()), time.monotonic()
        answer = self.answers.get(key)
        if answer is None or now - answer.begun > SECONDS:
            await self._make(key, _Answer(now), scope, receive, send)
            return
        await answer.ready.wait()
        if not answer.messages:
            await self.app(scope, receive, send)
            return  # `messages` may be there by now, and one answer has been sent
        for message in answer.messages:
            await send(dict(message))

    async def _make(
        self, key: tuple[str, bytes, int], new: _Answer, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.answers = {at: old for at, old in self.answers.items() if new.begun - old.begun <= SECONDS}
        self.answers[key] = new
        seen: list[Message] = []

        async def keep(message: Message) -> None:
            seen.append(message)
            if message["type"] == "http.response.start" and b"content-length" not in dict(message["headers"]):
                new.ready.set()  # a stream: its first piece may take any time
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if len(seen) == 2:  # the head and all of the body, or the first piece of a stream
                if whole and seen[0]["status"] == 200 and len(message.get("body", b"")) <= LARGEST:
                    new.messages = seen
                new.ready.set()
            if len(seen) > 2:
                seen.pop()
            await send(message)

        try:
            await self.app(scope, receive, keep)
        finally:
            new.ready.set()
