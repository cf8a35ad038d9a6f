"""Servers and addresses that want the command line's token, patience or memory: they get one clear error."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from attn.cli import calls, client
from attn.proxies import PROXIES
from jobs.process_identity import process_identity
from tests.cli.conftest import Attn, attn

__all__ = ["attn"]

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


# --- where a token may go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PROXIES, *(name.upper() for name in PROXIES)])
def test_no_proxy_hears_what_is_for_this_machine(
    serve: Callable[[Reply], Fake], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    proxy, service = serve(as_json), serve(as_json)
    monkeypatch.setenv(name, proxy.url)
    for host in ("127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0"):
        url = f"http://{host}:{service.server_port}"
        if host == "127.0.0.2":  # nobody listens there
            with pytest.raises(calls.ContactLostError):
                client.Client(url).job("a")
        else:
            assert client.Client(url).job("a") == JOB
    assert proxy.asked == []
    assert service.asked == [("/jobs/a", f"Bearer {TOKEN}")] * 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
@pytest.mark.parametrize("command", [("status", "a"), ("submit", "train", "x", "-y"), ("cancel", "a")])
def test_no_redirect_is_followed(
    attn: Attn, serve: Callable[[Reply], Fake], status: int, command: tuple[str, ...]
) -> None:
    thief = serve(as_json)
    location = f"http://me:hidden@127.0.0.1:{thief.server_port}/jobs?token=hidden"
    door = serve(lambda asked: asked.say(status, Location=location))
    done = attn(*command, "--service", door.url)
    assert (done.status, thief.asked) == (1, [])
    assert f"sends callers on to http://127.0.0.1:{thief.server_port} (status {status})" in done.err
    assert "hidden" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "location",
    ["https://elsewhere.example/x", "ftp://elsewhere.example", "//elsewhere.example", "file:///etc/passwd", "http://[",
     "", "/jobs/a", "http://\x1b[31mred"],
)  # fmt: skip
def test_wherever_a_redirect_leads_it_is_one_error(attn: Attn, serve: Callable[[Reply], Fake], location: str) -> None:
    door = serve(lambda asked: asked.say(302, Location=location))
    done = attn("status", "a", "--service", door.url)
    assert (done.status, len(door.asked)) == (1, 1)
    assert "which is not followed" in done.err
    assert "\x1b" not in done.err


def test_a_token_in_clear_is_warned_of_once(serve: Callable[[Reply], Fake], attn: Attn, monkeypatch: Any) -> None:
    proxy = serve(as_json)
    monkeypatch.setenv("http_proxy", proxy.url)  # so that no name is looked up
    for host, warned in (("one.example", True), ("10.9.9.9", True), ("two.example:81", True)):
        first, second = (attn("status", "a", "--service", f"http://{host}") for _ in range(2))
        assert (first.status, "unencrypted" in first.err, "unencrypted" in second.err) == (0, warned, False)
    monkeypatch.delenv("ATTN_SERVICE_TOKEN")
    assert "unencrypted" not in attn("status", "a", "--service", "http://three.example").err


@pytest.mark.parametrize("bad", ["two\nlines-of-it", "blank inside it", "\tx y", "größe-of-it", "a\x00b-of-it"])
def test_a_token_that_is_none_is_not_repeated(attn: Attn, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    if "\0" in bad:
        monkeypatch.setattr(os, "environ", {**os.environ, "ATTN_SERVICE_TOKEN": bad})
    else:
        monkeypatch.setenv("ATTN_SERVICE_TOKEN", bad)
    done = attn("status", "a", "--service", "http://127.0.0.1:9")
    assert (done.status, done.err.count("error: ")) == (2, 1)
    assert "ATTN_SERVICE_TOKEN holds what no token does" in done.err
    assert "of-it" not in done.err


# --- services that are found by their file --------------------------------------------------------------------------


def leave_address(root: Path, url: str, **fields: object) -> None:
    home = root / ".service"
    home.mkdir(parents=True, exist_ok=True)
    (home / "token").write_text("own-" + TOKEN)
    (home / "service.json").write_text(json.dumps({"url": url, "own_token": True, **fields}))


def test_the_own_token_goes_to_a_service_that_runs_and_to_none_that_has_ended(
    attn: Attn, serve: Callable[[Reply], Fake], tmp_path: Path
) -> None:
    server = serve(as_json)
    here = ("--root", str(tmp_path))
    alive = {"pid": os.getpid(), "process": process_identity(os.getpid())}
    leave_address(tmp_path, server.url, **alive)
    assert attn("status", "a", *here).status == 0
    assert attn("status", "a", *here, "--service", server.url.replace("127.0.0.1", "localhost")).status == 0
    assert server.asked == [("/jobs/a", f"Bearer own-{TOKEN}")] * 2
    server.asked.clear()
    for gone in ({"pid": os.getpid(), "process": f"{alive['process']}0"}, {"pid": 2**22 + 1, "process": "x"}):
        leave_address(tmp_path, server.url, **gone)
        done = attn("status", "a", *here)
        assert (done.status, "start it by `attn serve" in done.err) == (4, True)
    assert server.asked == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"url": 5}', '{"url": "file:///etc/passwd"}', '"x"', "null",
                                     '{"url": "http://u:hidden@127.0.0.1:9"}', "\udcff"])  # fmt: skip
def test_a_damaged_address_is_no_service(attn: Attn, tmp_path: Path, content: str) -> None:
    leave_address(tmp_path, "x")
    (tmp_path / ".service" / "service.json").write_text(content, errors="surrogateescape")
    done = attn("status", "a", "--root", str(tmp_path))
    assert (done.status, "no service is up" in done.err, "hidden" in done.err) == (1, True, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_the_file_of_another_user_is_not_followed(attn: Attn, serve: Callable[[Reply], Fake], tmp_path: Path) -> None:
    server = serve(as_json)
    leave_address(tmp_path, server.url)
    os.chown(tmp_path / ".service" / "service.json", 4242, 4242)
    done = attn("status", "a", "--root", str(tmp_path))
    assert (done.status, "user 4242" in done.err, server.asked) == (1, True, [])


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hidden@127.0.0.1:8000",
        "https://hidden@host",
        "http://me:hid/den#x?y@host:1",
        "http://me:hidden@@host",
        "http://me:hidden x@host",
        "s3://me:hidden@bucket/x",
        "postgresql://me:hidden@host/db",
        "ftp://me:hidden@host",
    ],
)
@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_password_in_the_address_is_refused_and_not_repeated(
    attn: Attn, monkeypatch: pytest.MonkeyPatch, url: str, how: str
) -> None:
    given = ("--service", url) if how == "option" else ()
    if how == "environment":
        monkeypatch.setenv("ATTN_SERVICE", url)
    done = attn("status", "a", *given, "--debug")
    assert done.status == 2
    assert done.err.count("holds a user or password") == 2  # the message, and --debug's traceback of it
    assert not [word for word in ("hid", "den", "me:") if word in done.err.replace("hidden or", "")]
    assert "hidden" not in attn("status", "--help").out


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "http://", "http://host:port", "http://host:99999", "http://h?token=hidden", "http://h#hidden",
            "http://h\n", "http://a b", "file:///etc/passwd", "http://größe", "http://[::1", "http://h:0", ""],
)  # fmt: skip
def test_what_is_no_address_is_one_error(attn: Attn, tmp_path: Path, url: str) -> None:
    done = attn("status", "a", "--service", url, "--root", str(tmp_path))
    assert done.status == (1 if url in ("", "http://h\n") else 2) or "does not answer" in done.err
    assert done.err.count("error: ") == 1
    assert "hidden" not in done.err


# --- answers --------------------------------------------------------------------------------------------------------


def raw(data: bytes) -> Reply:
    def reply(asked: Asked) -> None:
        asked.wfile.write(data)
        asked.close_connection = True

    return reply


def body(data: bytes, status: int = 200) -> Reply:
    return lambda asked: asked.say(status, data)


FOREIGN: dict[str, Reply] = {
    "a page": body(b"<html>hello</html>"),
    "nothing": body(b""),
    "a list": body(b"[]"),
    "another object": body(b"{}"),
    "a number as an id": body(b'{"id": 5, "state": "done"}'),
    "a start that is none": body(b'{"id": "a", "state": "done", "started": "x"}'),
    "deep nesting": body(b"[" * 200_000),
    "no UTF-8": body(b"\xff\xfe{"),
    "a page of an error": body(b"<html>not here</html>", 404),
    "an error without reason": body(b'{"error": 1}', 500),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a status that is none": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a line without end": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
    "a thousand headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("reply", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_server_of_somebody_else_is_one_error(attn: Attn, serve: Callable[[Reply], Fake], reply: Reply) -> None:
    done = attn("status", "a", "--service", serve(reply).url)
    assert (done.status, done.err.count("error: ")) == (1, 1), done.err
    assert "is no jobs service of attn" in done.err
    assert "Traceback" not in done.err
    assert len(done.err) < 5000


@pytest.mark.parametrize("command", [("ls",), ("logs", "a"), ("submit", "train", "x", "-y"), ("cancel", "a"),
                                     ("resume", "a")])  # fmt: skip
def test_every_command_knows_a_server_of_somebody_else(
    attn: Attn, serve: Callable[[Reply], Fake], tmp_path: Path, command: tuple[str, ...]
) -> None:
    for reply in (body(b"<html>"), body(b'{"jobs": {"a": 1}}'), body(b'{"jobs": [1]}')):
        done = attn(*command, "--service", serve(reply).url, "--root", str(tmp_path))
        assert (done.status, done.err.count("error: ")) == (1, 1), (done.out, done.err)
        assert "is no jobs service of attn" in done.err


def endless(asked: Asked) -> None:
    asked.send_response(200)
    asked.end_headers()
    while True:
        asked.wfile.write(b"x" * (1 << 20))


def chunked(asked: Asked) -> None:
    asked.protocol_version = "HTTP/1.1"
    asked.send_response(200)
    asked.send_header("Transfer-Encoding", "chunked")
    asked.end_headers()
    while True:
        asked.wfile.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")


@pytest.mark.parametrize("reply", [endless, chunked, body(b" " * (3 << 20)), body(b"x" * (3 << 20), 500)])
def test_an_answer_without_end_is_ended(
    attn: Attn, serve: Callable[[Reply], Fake], monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(calls, "LARGEST_ANSWER", 2 << 20)
    done = attn("status", "a", "--service", serve(reply).url)
    assert (done.status, "more than 2 MiB" in done.err) == (1, True)


def drip(head: bytes, piece: bytes) -> Reply:
    """Sends a piece again and again, each before patience with one of them has ended."""

    def reply(asked: Asked) -> None:
        asked.wfile.write(head)
        for _ in range(500):
            asked.wfile.write(piece)
            time.sleep(0.05)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    ],
    ids=["body", "length", "100", "chunks", "header"],
)
def test_an_answer_in_drops_is_ended(
    attn: Attn, serve: Callable[[Reply], Fake], monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(calls, "ANSWER_SECONDS", 0.3)
    begun = time.monotonic()
    done = attn("status", "a", "--service", serve(reply).url)
    assert (done.status, "timed out" in done.err) == (4, True), done.err
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"])  # fmt: skip
def test_a_connection_that_breaks_is_lost_contact(attn: Attn, serve: Callable[[Reply], Fake], data: bytes) -> None:
    done = attn("status", "a", "--service", serve(raw(data)).url)
    assert (done.status, done.err.count("does not answer")) == (4, 1), done.err


# --- logs -----------------------------------------------------------------------------------------------------------


def log_of(piece: bytes, *, skip: int = 0, said: str | None = None, ended: str = "false") -> Reply:
    """A log that gives the same piece from every byte on, and counts wrongly where it is told to."""

    def reply(asked: Asked) -> None:
        offset = int(asked.path.rpartition("offset=")[2])
        following = str(offset + len(piece) + skip) if said is None else said
        asked.say(200, piece, Attn_Next_Offset=following, Attn_Ended=ended)

    return reply


@pytest.mark.parametrize("follow", [(), ("-f",)])
@pytest.mark.parametrize(
    "reply",
    [
        log_of(b"line\n", said="0"),
        log_of(b"line\n", said="5"),
        log_of(b"line\n", skip=-5),
        log_of(b"line\n", skip=1),
        log_of(b"line\n", said="x"),
        log_of(b"", said=str(2**70)),
        body(b"line\n"),
    ],
)
def test_a_log_that_repeats_itself_is_ended(
    attn: Attn, serve: Callable[[Reply], Fake], reply: Reply, follow: tuple[str, ...]
) -> None:
    done = attn("logs", "a", *follow, "--service", serve(reply).url)
    assert (done.status, "does not say where a log goes on" in done.err) == (1, True)
    assert done.out.count("line") <= 1


@pytest.mark.parametrize("piece", [b"x\n", b"x" * 1000, b"y" * (600 << 10)])
def test_a_log_without_end_is_ended(
    attn: Attn, serve: Callable[[Reply], Fake], monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr(client, "LARGEST_LOG", 2 << 20)
    server = serve(log_of(piece))
    done = attn("logs", "a", "--service", server.url)
    assert (done.status, "has not ended after" in done.err) == (1, True)
    assert len(server.asked) <= client.SHORT_PIECES + 1


@pytest.mark.parametrize("offset", [str(2**63), str(2**70), "-1", "x"])
def test_an_offset_beyond_any_file_is_refused(attn: Attn, offset: str) -> None:
    assert attn("logs", "a", f"--offset={offset}", "--service", "http://127.0.0.1:9").status == 2


def test_a_port_where_nobody_listens_is_lost_contact(attn: Attn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = attn("status", "a", "--service", f"http://127.0.0.1:{port}")
    assert (done.status, done.err.count("does not answer")) == (4, 1)
