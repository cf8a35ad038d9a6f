"""With a proxy in the environment, servers of this machine are asked directly, by whichever library asks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from attn.files.locations import list_files, read_bytes
from attn.files.transfer import write_bytes
from attn.proxies import LOOPBACK, PROXIES, bypass_proxies_for_loopback, is_loopback
from attn.tracking.mlflow_client import connect
from services.job_server import JobServer
from tests.services.cli.conftest import Attn, attn

__all__ = ["attn"]


class Answers(ThreadingHTTPServer):
    """A server that gives one answer to everything, and keeps what it was asked."""

    def __init__(self, status: int, body: bytes) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        for method in ("GET", "POST", "PUT", "CONNECT", "HEAD"):
            setattr(Handler, f"do_{method}", Handler.answer)
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """A proxy for everything that answers nothing of use."""
    with Answers(502, b"made up") as server:
        for name in PROXIES:
            monkeypatch.setenv(name, server.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")  # so that what the code sets is put back
            monkeypatch.delenv(name)
        yield server


def test_the_clients_of_four_libraries(attn: Attn, s3_server: str, trap: Answers) -> None:
    with Answers(200, b'{"jobs": [], "experiments": []}') as server:
        assert attn("ls", "--service", server.url).status == 0
        assert list(connect(server.url).search_experiments()) == []
        bypass_proxies_for_loopback()
        assert JobServer(server.url).job("x") == {"jobs": [], "experiments": []}
        assert len(server.asked) == 3
    write_bytes(f"{s3_server}/a.txt", b"a")
    assert read_bytes(f"{s3_server}/a.txt") == b"a"
    assert list_files(s3_server) == ["a.txt"]
    assert trap.asked == []


def test_rays_storage(s3_server: str, trap: Answers) -> None:
    from jobs.runs.checkpoints import ray_storage

    path, filesystem = ray_storage(f"{s3_server}/runs/a")
    assert filesystem is not None
    with filesystem.open_output_stream(f"{path}/b.txt") as stream:
        stream.write(b"b")
    assert read_bytes(f"{s3_server}/runs/a/b.txt") == b"b"
    assert trap.asked == []


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_what_was_spared_before_still_is(trap: Answers, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "internal.example, 10.0.0.0/8")
    other = {"no_proxy": "NO_PROXY", "NO_PROXY": "no_proxy"}[name]
    monkeypatch.setenv(other, "")
    for _ in range(2):
        bypass_proxies_for_loopback()
        expected = ",".join(["internal.example", "10.0.0.0/8", *LOOPBACK])
        assert {os.environ["no_proxy"], os.environ["NO_PROXY"]} == {expected}
    for each in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(each, "*")
    bypass_proxies_for_loopback()
    assert os.environ["no_proxy"] == "*"


def test_what_either_spelling_spares_is_spared(trap: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "a.example,both.example")
    monkeypatch.setenv("NO_PROXY", "both.example,b.example")
    bypass_proxies_for_loopback()
    expected = ",".join(["a.example", "both.example", "b.example", *LOOPBACK])
    assert {os.environ["no_proxy"], os.environ["NO_PROXY"]} == {expected}


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("0.0.0.0", True),
     ("::ffff:127.0.0.1", True), ("LOCALHOST", True), ("localhost.example", False), ("10.0.0.1", False),
     ("127.0.0.1.example", False), ("", False), ("fe80::1", False), ("::ffff:10.0.0.1", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) == here


def test_without_a_proxy_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *(name.upper() for name in PROXIES), "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    bypass_proxies_for_loopback()
    assert "no_proxy" not in os.environ


def test_other_machines_are_reached_by_the_proxy(trap: Answers) -> None:
    import requests

    bypass_proxies_for_loopback()
    result: Any = requests.get("http://elsewhere.example/x", timeout=60)
    assert (result.status_code, trap.asked) == (502, ["http://elsewhere.example/x"])
