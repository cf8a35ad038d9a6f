"""Servers that answer the command line as a test wants, and note what they were asked and by whom."""

from __future__ import annotations

__all__ = ["JOB", "TOKEN", "Asked", "Fake", "Reply", "as_json", "body", "raw", "serve", "token"]

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from attn.proxies import PROXIES

TOKEN = "made-up-token-of-the-tests"
JOB = {"id": "a", "state": "done"}
Reply = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """A request, and what the test's server answers to it."""

    server: Fake  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.server.reply(self)

    def do_POST(self) -> None:
        self.do_GET()

    def do_CONNECT(self) -> None:
        self.do_GET()

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None: ...


class Fake(ThreadingHTTPServer):
    """A server that notes what it is asked, and by whom."""

    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        self.reply, self.asked = reply, list[tuple[str, str | None]]()
        super().__init__(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None: ...


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], Fake]]:
    """Starts servers that answer as they are told to."""
    started: list[Fake] = []

    def start(reply: Reply) -> Fake:
        server = Fake(reply)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTN_SERVICE_TOKEN", TOKEN)
    for name in (*PROXIES, *(name.upper() for name in PROXIES), "ATTN_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")


def as_json(asked: Asked, value: object = JOB) -> None:
    asked.say(200, json.dumps(value).encode(), Content_Type="application/json")


def raw(data: bytes) -> Reply:
    def reply(asked: Asked) -> None:
        asked.wfile.write(data)
        asked.close_connection = True

    return reply


def body(data: bytes, status: int = 200) -> Reply:
    return lambda asked: asked.say(status, data)
