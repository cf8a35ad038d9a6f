"""Answers that are given again: only to the same question, only for a moment, and never past a change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from services import response_cache
from services.response_cache import ResponseCache


class App:
    """Counts what it answers; `/jobs/stream` comes in pieces, `/jobs/short` late, and `/jobs/none` is an error."""

    def __init__(self) -> None:
        self.made, self.pieces = 0, asyncio.Event()
        self.pieces.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.made += 1
        body = f"{self.made}".encode()
        await asyncio.sleep(0)
        status = 404 if scope["path"] == "/jobs/none" else 200
        late = scope["path"] in ("/jobs/stream", "/jobs/short")
        length = [] if late else [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": length})
        if late:
            await self.pieces.wait()
        if scope["path"] == "/jobs/stream":
            await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        await send({"type": "http.response.body", "body": body})


class Place:
    """A service whose table has a version."""

    def __init__(self) -> None:
        self.version, self.app = 0, App()
        self.recent = ResponseCache(self.app, lambda: self.version)

    async def get(self, target: str, method: str = "GET") -> str:
        sent: list[Message] = []
        path, _, query = target.partition("?")

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        await self.recent(scope, receive, send)
        return b"".join(message.get("body", b"") for message in sent).decode()


def ask(place: Place, *paths: str, together: bool = False) -> list[str]:
    async def body() -> list[str]:
        if together:
            return list(await asyncio.gather(*map(place.get, paths)))
        return [await place.get(path) for path in paths]

    return asyncio.run(body())


def test_many_at_once_get_one_answer_and_other_questions_their_own() -> None:
    location = Place()
    assert ask(location, *["/jobs/a"] * 50, together=True) == ["1"] * 50
    assert ask(location, "/jobs/b", "/jobs/a?offset=3", "/jobs/a", "/runs", "/runs") == ["2", "3", "1", "4", "5"]
    assert asyncio.run(location.get("/jobs/a", "POST")) == "6"


def test_a_change_and_time_make_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    location = Place()
    assert ask(location, "/jobs/a", "/jobs/a") == ["1", "1"]
    location.version += 1
    assert ask(location, "/jobs/a") == ["2"]
    monkeypatch.setattr(response_cache, "SECONDS", -1.0)
    assert ask(location, "/jobs/a") == ["3"]


def test_streams_and_errors_are_each_clients_own() -> None:
    location = Place()
    assert sorted(ask(location, "/jobs/stream", "/jobs/stream", together=True)) == ["first 1", "first 2"]
    assert ask(location, "/jobs/none", "/jobs/none") == ["3", "4"]


@pytest.mark.parametrize(("path", "answers"), [("stream", ["first 1", "first 2"]), ("short", ["1", "2"])])
def test_nobody_waits_for_the_first_piece_of_anothers_stream(path: str, answers: list[str]) -> None:
    """A log that is followed may have nothing to say for hours."""
    location = Place()

    async def body() -> tuple[int, list[str]]:
        location.app.pieces = asyncio.Event()
        both = [asyncio.create_task(location.get(f"/jobs/{path}")) for _ in range(2)]
        for _ in range(10):
            await asyncio.sleep(0)
        result = location.app.made
        location.app.pieces.set()
        return result, sorted(await asyncio.gather(*both))

    assert asyncio.run(body()) == (2, answers)
