"""Server-sent events: browsers learn of changes, and all that follow the same thing share one look at it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from attn.errors import RunError
from services.pages import watching
from services.pages.watching import Watching


class Thing:
    """Something with a version, which counts how often it was read."""

    kind: type[Exception]

    def __init__(self) -> None:
        self.version, self.reads, self.fault, self.kind = "a", 0, False, OSError

    def read(self) -> str:
        self.reads += 1
        if self.fault:
            raise self.kind("away")
        return self.version


async def pieces(stream: Any, count: int) -> list[str]:
    return [await anext(stream) for _ in range(count)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(watching, "SHARE", 1.0)


def test_followers_hear_of_a_change_once_and_share_the_reading() -> None:
    async def follow() -> int:
        thing, one = Thing(), Watching()
        streams = [one.events("t", thing.read, "a").body_iterator for _ in range(50)]
        assert {piece for stream in streams for piece in await pieces(stream, 1)} == {"retry: 2000\n\n"}
        nexts = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0.1)
        assert not any(future.done() for future in nexts), "they know this version"
        before = thing.reads
        thing.version = "b"
        assert set(await asyncio.gather(*nexts)) == {"event: change\ndata: b\n\n"}
        for stream in streams:
            await stream.aclose()
        after = thing.reads
        await asyncio.sleep(0.1)
        assert thing.reads <= after + 1, "nobody follows it"
        return before

    assert asyncio.run(follow()) < 50


@pytest.mark.parametrize("kind", [OSError, RunError, SQLAlchemyError])
def test_a_follower_that_shows_an_old_version_hears_of_it_and_a_fault_ends_nothing(kind: type[Exception]) -> None:
    async def follow() -> None:
        thing = Thing()
        thing.kind = kind
        stream = Watching().events("t", thing.read, "older").body_iterator
        assert (await pieces(stream, 2))[1] == "event: change\ndata: a\n\n"
        thing.fault = True
        await asyncio.sleep(0.05)
        thing.fault, thing.version = False, "c"
        assert await anext(stream) == "event: change\ndata: c\n\n"
        await stream.aclose()

    asyncio.run(follow())


def test_a_silent_stream_shows_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ALIVE_SECONDS", 0.05)

    async def follow() -> None:
        stream = Watching().events("t", Thing().read, "a").body_iterator
        assert (await pieces(stream, 2))[1] == ": alive\n\n"
        await stream.aclose()

    asyncio.run(follow())
