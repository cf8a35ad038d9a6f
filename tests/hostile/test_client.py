"""Addresses and servers that want the command line's token: they get one clear error, and no token."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from attn.process_identity import process_identity
from attn.proxies import PROXIES
from services import calls, client
from services.discovery import Address, find_service
from tests.hostile.fakes import JOB, TOKEN, Fake, Reply, as_json, serve, token
from tests.services.cli.conftest import Attn, attn

__all__ = ["attn", "serve", "token"]


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
    assert f"redirects to http://127.0.0.1:{thief.server_port} (status {status})" in done.err
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
    assert "redirects are not followed" in done.err
    assert "\x1b" not in done.err


def test_a_token_in_clear_is_warned_of_once(
    serve: Callable[[Reply], Fake], attn: Attn, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert "ATTN_SERVICE_TOKEN is not a token" in done.err
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
        assert (done.status, "start it with `attn serve" in done.err) == (4, True)
    assert server.asked == []


def test_a_service_of_another_machine_is_found_by_a_root_on_a_common_disk(tmp_path: Path) -> None:
    for host, there in (("192.0.2.1", True), ("node7", True), ("127.0.0.1", False), ("[::1]", False)):
        leave_address(tmp_path, f"http://{host}:8000", pid=2**22 + 1, process="another boot:1")
        if there:
            assert find_service(str(tmp_path)) == Address(f"http://{host}:8000"), "without this machine's own token"
            continue
        with pytest.raises(calls.ContactLostError, match="has ended"):
            find_service(str(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"url": 5}', '{"url": "file:///etc/passwd"}', '"x"', "null",
                                     '{"url": "http://u:hidden@127.0.0.1:9"}', "\udcff"])  # fmt: skip
def test_a_damaged_address_is_no_service(attn: Attn, tmp_path: Path, content: str) -> None:
    leave_address(tmp_path, "x")
    (tmp_path / ".service" / "service.json").write_text(content, errors="surrogateescape")
    done = attn("status", "a", "--root", str(tmp_path))
    assert (done.status, "no service runs" in done.err, "hidden" in done.err) == (1, True, False)


def test_the_file_of_another_user_is_not_followed(
    attn: Attn, serve: Callable[[Reply], Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(as_json)
    leave_address(tmp_path, server.url)
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)  # who asks is another user than who made the file
    done = attn("status", "a", "--root", str(tmp_path))
    assert (done.status, f"user {owner}" in done.err, server.asked) == (1, True, [])


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
    assert done.err.count("contains a user or password") == 2  # the message, and --debug's traceback of it
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
