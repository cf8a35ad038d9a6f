"""How long the command line waits: a slow answer is waited for, a service that is away not for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services import calls, client
from services.calls import ContactLostError
from services.client import Client

DONE = {"id": "a", "state": "done"}


class Slow(BaseHTTPRequestHandler):
    """Takes as long as the path says, as in `/jobs/0.5`; the first time it hangs up where that is asked for."""

    hang_up: list[bool]

    def do_GET(self) -> None:
        time.sleep(float(self.path.rpartition("/")[2]))
        if self.hang_up and self.hang_up.pop():
            return
        answer = json.dumps(DONE).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def service() -> Iterator[Client]:
    Slow.hang_up = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Client(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_may_take_longer_than_a_connection(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CONNECT_SECONDS", 0.2)
    assert service.get("/jobs/0.6") == DONE


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ANSWER_SECONDS", 0.1)
    with pytest.raises(ContactLostError, match="timed out"):
        service.get("/jobs/0.5")


def test_one_call_that_fails_late_does_not_use_up_all_patience(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    Slow.hang_up = [True]
    assert service.wait("0.5") == DONE


def test_a_service_that_is_away_is_told_at_once_and_after_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    away = Client("http://127.0.0.1:9")
    for ask in (lambda: away.get("/jobs/a"), lambda: away.wait("a"), lambda: list(away.log("a", follow=True))):
        with pytest.raises(ContactLostError, match="does not answer"):
            ask()
