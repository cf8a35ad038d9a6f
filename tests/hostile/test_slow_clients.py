"""Clients that are slow, silent or endless: each is ended in time, and none of them keeps others from an answer."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from services.access import Guard
from services.api import create_app
from services.connections import Limits, allowed_connections
from services.problems import add_problem_handlers
from services.sessions import Sessions
from services.supervisor import Supervisor
from services.table import Job, JobTable
from tests.hostile.serving import serving

SHORT = Limits(
    connections=20, per_client=20, header_seconds=0.4, body_seconds=0.4, read_seconds=0.4,
    header_bytes=4096, request_bytes=4 << 20,
)  # fmt: skip
PATIENCE = 60.0
"""Seconds after which a test gives up; what it waits for takes about one."""
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def small(limits: Limits, begun: list[int] | None = None) -> Iterator[int]:
    """A small application behind the service's own server and guard; gives its port.

    Args:
        begun: Has an entry for every request to `/busy` that is being answered.
    """
    app, hold = FastAPI(), threading.Event()
    app.add_middleware(Guard, sessions=Sessions({}))
    add_problem_handlers(app)

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.api_route("/echo", methods=["GET", "POST"])
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(32 << 20))

    @app.get("/busy")
    def busy() -> str:
        if begun is not None:
            begun.append(1)
        hold.wait(PATIENCE)
        return "done"

    with serving(app, limits) as port:
        try:
            yield port
        finally:
            hold.set()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    one.sendall(sent)
    return one


def rest(one: socket.socket) -> bytes:
    """All that a connection still gives until it is ended."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := one.recv(1 << 16):
            data += piece
    return bytes(data)


def until(holds: Callable[[], bool]) -> None:
    """Wait for what comes soon."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def health(port: int) -> int:
    """Status of /healthz over a connection of its own."""
    with connect(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") as one:
        return int(rest(one).split()[1])


def is_open(one: socket.socket) -> bool:
    if not select.select([one], [], [], 0)[0]:
        return True
    with contextlib.suppress(ConnectionError):
        return one.recv(1, socket.MSG_PEEK) != b""
    return False


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with small(SHORT) as number:
        yield number


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"\r\n", 408),
        (b"GET", 408),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", 408),
        (POST + b"Content-Length: 9\r\n\r\n12345", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n", 408),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
    ],
    ids=repr,
)
def test_what_does_not_arrive_in_time_is_ended(port: int, sent: bytes, status: int | None) -> None:
    with connect(port, sent) as one:
        begun, answer = time.monotonic(), rest(one)
        assert time.monotonic() - begun < PATIENCE / 2
    if status is None:
        assert answer == b""
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize("piece", [b"\r\n", b"a", b"X-A: b\r\n"], ids=repr)
def test_dripping_bytes_do_not_help(port: int, piece: bytes) -> None:
    start = b"" if piece == b"\r\n" else GET[:-2]
    with connect(port, start) as one:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while is_open(one):
                assert time.monotonic() - begun < PATIENCE
                one.sendall(piece)
                time.sleep(0.05)


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (GET[:-2], b"X-A: b\r\n" * 100, 431),
        (GET[:-2] + b"X-A: ", b"a" * 1000, 431),
        (b"GET /", b"a" * 1000, 431),
        (b"", b"\r\n" * 500, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n" * 5000, None),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", (b"FFFF\r\n" + bytes(0xFFFF) + b"\r\n") * 8, None),
        (POST + b"Content-Length: 99999999999\r\n\r\n", bytes(1 << 18), None),
    ],
    ids=["headers", "header", "line", "empty lines", "trailers", "chunks", "body"],
)
def test_what_has_no_end_is_cut_off(start: bytes, piece: bytes, status: int | None) -> None:
    with small(replace(SHORT, header_seconds=PATIENCE, body_seconds=PATIENCE)) as port:
        with connect(port, start) as one:
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 64 << 20:  # buffers of the system take some more than was allowed
                    one.sendall(piece)
                    sent += len(piece)
            assert sent < 64 << 20
            if status is not None:
                assert rest(one)[:12] in (b"HTTP/1.1 %d" % status, b""), "the reset may overtake the answer"
        assert health(port) == 200


def test_who_sends_a_large_body_sees_why_it_is_refused() -> None:
    size = 24 << 20
    with small(Limits()) as port, connect(port) as one:
        one.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size)
        one.sendall(bytes(size))
        assert rest(one).startswith(b"HTTP/1.1 413 ")


def test_an_answer_that_nobody_reads_is_given_up(port: int) -> None:
    with connect(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as one:
        time.sleep(1.5)  # without reading; the system's buffers hold a few MiB
        assert len(rest(one)) < 32 << 20


def test_idle_connections_between_requests_are_ended(port: int) -> None:
    with connect(port, GET + GET) as one:
        assert rest(one).count(b"HTTP/1.1 200 OK") == 2


def test_silent_clients_make_room_for_those_that_ask() -> None:
    with small(replace(SHORT, header_seconds=PATIENCE)) as port:
        silent = [connect(port, GET[: number % 30]) for number in range(100)]
        begun = time.monotonic()
        assert [health(port) for _ in range(20)] == [200] * 20
        assert time.monotonic() - begun < PATIENCE / 2
        until(lambda: sum(map(is_open, silent)) < 20)
        for one in silent:
            one.close()


def test_where_all_are_being_answered_the_next_is_told_to_wait() -> None:
    begun: list[int] = []
    with small(replace(SHORT, connections=5), begun) as port:
        busy = [connect(port, b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(5)]
        until(lambda: len(begun) == 5)
        with connect(port, GET) as one:
            answer = rest(one)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5" in answer.lower()
        assert all(map(is_open, busy))
        busy.pop().close()
        until(lambda: health(port) == 200)
        for one in busy:
            one.close()


def test_one_address_cannot_take_all_connections() -> None:
    with small(replace(SHORT, per_client=5, header_seconds=PATIENCE)) as port:
        other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0), timeout=PATIENCE)
        crowd = [connect(port) for _ in range(15)]
        until(lambda: [is_open(one) for one in crowd] == [False] * 10 + [True] * 5)
        assert is_open(other), "it waited longest, and is another client's"
        for one in [other, *crowd]:
            one.close()


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from services.api import create_app
from services.server import run_server
run_server(create_app(sys.argv[1]), "127.0.0.1", 0)
"""


def test_a_service_that_may_open_few_files_still_answers(tmp_path: Path) -> None:
    """300 connections that send no request, and 256 files in all."""
    command = [sys.executable, "-c", FEW_FILES, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("serving http://127.0.0.1:"), line
        port = int(line.rpartition(":")[2])
        try:
            with contextlib.ExitStack() as stack:
                for _ in range(300):
                    stack.enter_context(connect(port, b"GET /healthz HTTP/1.1\r\nX-A: "))
                begun = time.monotonic()
                assert [health(port) for _ in range(3)] == [200] * 3
                assert time.monotonic() - begun < PATIENCE / 2
                assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 200
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "raised"),
    [
        (1024, 20000, 1000, 1320),
        (20000, 20000, 1000, None),
        (1024, -1, 1000, 1320),
        (-1, -1, 1000, None),
        (256, 1024, 704, 1024),
        (256, 256, 64, None),
        (64, 64, 16, None),
    ],
)
def test_files_are_kept_for_the_service(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, raised: int | None
) -> None:
    messages: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: messages.append(limits))
    assert allowed_connections(1000) == allowed
    assert [limits for limits in messages if limits != (soft, hard)] == ([] if raised is None else [(raised, hard)])


FOLLOWERS = 520


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of all connections are this process's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard > 0 else 4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_who_follow_a_log_leave_others_their_answers(tmp_path: Path, many_files: None) -> None:
    table = JobTable(f"sqlite:///{tmp_path}/jobs.db")
    supervisor = Supervisor(str(tmp_path / "runs"), tmp_path / "home", table)
    table.add(Job(id="j", kind="train", target="t", request="r", state="running"))
    log = supervisor.log("j")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"first\n")
    app = create_app(supervisor.root, supervisor)
    with contextlib.ExitStack() as stack, serving(app, Limits()) as port:
        request = (
            f"GET /jobs/j/log?follow=true HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        followers: list[socket.socket] = []
        for number in range(FOLLOWERS):
            source = (f"127.0.0.{2 + number % 2}", 0)  # an address alone may have fewer
            one = socket.create_connection(("127.0.0.1", port), source_address=source, timeout=PATIENCE)
            followers.append(stack.enter_context(one))
            one.sendall(request)
        took: list[float] = []
        for turn in range(9):
            with log.open("ab") as stream:
                stream.write(b"line %d\n" % turn)
            table.change("j", ["running"], pid=turn)  # so that each looks for the job's end
            begun = time.monotonic()
            assert health(port) == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.1)
        table.change("j", ["running"], state="done")
        whole = b"first\n" + b"".join(b"line %d\n" % turn for turn in range(9))
        assert all(text(rest(one)) == whole for one in followers)
    assert statistics.median(took) < 1, took
    supervisor.stop()
    table.close()


def text(answer: bytes) -> bytes:
    """The body of an answer in chunks."""
    head, _, left = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    pieces: list[bytes] = []
    while left:
        size, _, left = left.partition(b"\r\n")
        pieces.append(left[: int(size, 16)])
        left = left[int(size, 16) + 2 :]
    return b"".join(pieces)
