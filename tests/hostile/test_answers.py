"""Answers that want the command line's patience or memory, or are somebody else's: one clear error, in bounded time."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services import calls, client
from tests.hostile.fakes import JOB, Asked, Fake, Reply, as_json, body, raw, serve, token
from tests.services.cli.conftest import Attn, attn

__all__ = ["attn", "serve", "token"]


# --- answers --------------------------------------------------------------------------------------------------------


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
    "a status of no class": raw(b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "packed": body(gzip.compress(bytes(50 << 20))),
    "packed, as it says": lambda asked: asked.say(
        200, gzip.compress(b'{"id": "a", "state": "done"}'), Content_Encoding="gzip"
    ),
    "a header of a megabyte": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n{}"),
    "a status that is none": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a line without end": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
    "a thousand headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("reply", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_server_of_somebody_else_is_one_error(attn: Attn, serve: Callable[[Reply], Fake], reply: Reply) -> None:
    done = attn("status", "a", "--service", serve(reply).url)
    assert (done.status, done.err.count("error: ")) == (1, 1), done.err
    assert "is not a jobs service of attn" in done.err
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
        assert "is not a jobs service of attn" in done.err


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
        for _ in range(2400):
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
    assert time.monotonic() - begun < 60, "it would take two minutes"


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
    assert (done.status, "lacks the offset of the log's next piece" in done.err) == (1, True)
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


SIGNS = "\x1b[2J\x1b]0;title\x07red \x9b31m größe\x00\r\n\tend\n"


@pytest.mark.parametrize("cut", [0, 3, 18, 19, 24, 25])  # also within a letter
@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_moves_no_cursor(
    attn: Attn, serve: Callable[[Reply], Fake], monkeypatch: pytest.MonkeyPatch, terminal: bool, cut: int
) -> None:
    """A terminal gets what it can show; a file or another program gets every byte."""
    whole = SIGNS.encode()

    def reply(asked: Asked) -> None:
        if "/log?" not in asked.path:
            return as_json(asked)
        offset = int(asked.path.rpartition("offset=")[2])
        end = cut if offset < cut else len(whole)
        asked.say(200, whole[offset:end], Attn_Next_Offset=str(end), Attn_Ended=str(end == len(whole)).lower())

    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    done = attn("logs", "a", "--service", serve(reply).url)
    assert done.status == 0, done.err
    spelled = r"\x1b[2J\x1b]0;title\x07red \x9b31m größe\x00\x0d" + "\n\tend\n"
    assert done.out == (spelled if terminal else SIGNS)


@pytest.mark.parametrize("offset", [str(2**63), str(2**70), "-1", "x"])
def test_an_offset_beyond_any_file_is_refused(attn: Attn, offset: str) -> None:
    assert attn("logs", "a", f"--offset={offset}", "--service", "http://127.0.0.1:9").status == 2


@pytest.mark.parametrize(
    "run", ["../../etc/passwd", "..%2f..", "a/../b", "", "a b", "a\x1b[31m", "-a", "x" * 5000, "mlflow.db", "a?x"]
)
@pytest.mark.parametrize("command", [("logs",), ("logs", "-f"), ("status",), ("cancel",), ("resume",)])
def test_a_name_that_no_job_has_is_asked_of_nobody(
    attn: Attn, serve: Callable[[Reply], Fake], run: str, command: tuple[str, ...]
) -> None:
    server = serve(as_json)
    done = attn(*command, "--service", server.url, "--", run)
    assert (done.status, server.asked, done.err.count("error: ")) == (2, [], 1), done.err
    assert "is not a job's name: it has letters, digits" in done.err
    assert len(done.err) < 400
    assert "\x1b" not in done.err


def test_a_port_where_nobody_listens_is_lost_contact(attn: Attn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = attn("status", "a", "--service", f"http://127.0.0.1:{port}")
    assert (done.status, done.err.count("does not answer")) == (4, 1)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"error": "\x1b[2J\x1b]0;title\x07bell\r"}, r"\x1b[2J\x1b]0;title\x07bell\x0d"),
        ({"error": "\x9b31mred"}, r"\x9b31mred"),
        ({"metrics": {"\x1b[0m": 1}}, r"\x1b[0m"),
        ({"stages": {"train": "\x1b[0m"}}, r"train \x1b[0m"),
        ({"started": 1e400}, "state  done"),  # what is no time is not shown
        ({"started": 1e18}, "1e+18 (not a valid time)"),
        ({"started": float("nan")}, "state  done"),
    ],
)
def test_whatever_a_status_says_the_terminal_stays_as_it_is(
    attn: Attn, serve: Callable[[Reply], Fake], fields: dict[str, object], shown: str
) -> None:
    server = serve(lambda asked: as_json(asked, {"jobs": [JOB | fields]} if "?" in asked.path else JOB | fields))
    one, listed = attn("status", "a", "--service", server.url), attn("ls", "--service", server.url)
    assert (one.status, listed.status) == (0, 0), (one.err, listed.err)
    assert shown in one.out
    assert not [sign for sign in one.out + listed.out if sign < " " and sign != "\n"]


def test_a_reason_with_control_characters_is_spelled(attn: Attn, serve: Callable[[Reply], Fake]) -> None:
    problem = json.dumps({"detail": "no \x1b[2Jsuch job", "code": "http"}).encode()
    done = attn("status", "a", "--service", serve(body(problem, 404)).url)
    assert (done.status, "error: no \\x1b[2Jsuch job" in done.err) == (1, True)
