"""One HTTP call to a service: limited in time and size, and its token is sent to that server only."""

from __future__ import annotations

__all__ = ["Answer", "ContactLostError", "ForeignError", "call", "checked_url"]

import contextlib
import functools
import http.client
import re
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attn.errors import AttnError, ConfigError, RunError
from attn.proxies import is_loopback

CONNECT_SECONDS = 60
ANSWER_SECONDS = 600
"""A service runs at low priority and imports PyTorch for the first submission, which can take minutes."""
LARGEST_ANSWER = 32 << 20
"""Bytes. A piece of a log has up to 1 MiB, a page of jobs less."""
TOKEN = re.compile(r"[!-~]+")
REDIRECTS = range(300, 400)


LISTED_BY_API = "GET /jobs lists them"
"""What a service says of the names of its jobs; at a shell it is a command."""


class ContactLostError(AttnError):
    """The service does not answer."""

    code = "lost_contact"
    exit_status = 4


class ForeignError(RunError):
    """The server that answers is not an attn service."""

    def __init__(self, url: str, how: str) -> None:
        super().__init__(f"{url} is not a jobs service of attn, or a proxy is in front of it: {how}. Check --service")


@dataclass(frozen=True)
class Answer:
    """A complete answer of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def checked_url(given: str) -> str:
    """Check the URL of a service.

    Returns:
        The URL without spaces around it and without a final slash.

    Raises:
        ConfigError: It is not an http(s) URL, or contains a password. The message does not repeat the password.
    """
    scheme, result, rest = given.strip().partition("://")
    login, at, host = rest.rpartition("@")
    shown = f"{scheme}{result}{'***@' if at else ''}{re.split('[?#]', host)[0]}" if result else "given"
    try:
        parts = urllib.parse.urlsplit(given.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if login:
        raise ConfigError(
            f"--service {shown} contains a user or password, which the service does not use: remove them, and set "
            "ATTN_SERVICE_TOKEN to a token of the service"
        )
    if not valid or at or re.search(r"[?#\s]|[^ -~]", given.strip()):
        raise ConfigError(f"--service {shown} is not the http:// or https:// address of a service: http://HOST:8000")
    return given.strip().rstrip("/")


def call(url: str, method: str, path: str, *, token: str | None = None, body: bytes | None = None) -> Answer:
    """Call a service.

    Calls to loopback addresses bypass any proxy of the environment. Redirects are not followed: the token is for one
    server only.

    Args:
        url: As returned by `checked_url`.

    Raises:
        ContactLostError: There is no answer, or not in time.
        ForeignError: The answer cannot be the service's: a redirect, not HTTP, or too large.
        ConfigError: The token has characters that no token has.
    """
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {_checked(token)}"
        _warn_in_clear(url)
    request = urllib.request.Request(f"{url}{path}", data=body, headers=headers, method=method)
    with _Watch() as watch:
        try:
            answer = _answer(_opener(url, watch), request)
        except urllib.error.URLError as error:
            raise _lost(url, watch, error.reason) from None
        except (http.client.IncompleteRead, OSError) as error:
            raise _lost(url, watch, error) from None
        except (http.client.HTTPException, ValueError) as error:
            if watch.late:
                raise _lost(url, watch, error) from None
            raise ForeignError(url, f"its answer is not valid HTTP ({type(error).__name__})") from None
        if watch.late:
            raise _lost(url, watch, None)
    if answer is None:
        raise ForeignError(url, f"its answer has more than {LARGEST_ANSWER >> 20} MiB")
    if answer.status in REDIRECTS:
        where = _host_of(url, answer.headers.get("location") or "")
        raise ForeignError(url, f"it redirects to {where} (status {answer.status}), and redirects are not followed")
    return answer


class _Watch:
    """Closes a connection that has not delivered the whole answer in time, even if it still sends some bytes."""

    def __init__(self) -> None:
        self.late, self.timers = False, list[threading.Timer]()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *exception: object) -> None:
        for timer in self.timers:
            timer.cancel()

    def over(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_SECONDS)
        timer = threading.Timer(ANSWER_SECONDS, self._end, [connection])
        timer.daemon = True
        timer.start()
        self.timers.append(timer)

    def _end(self, connection: socket.socket) -> None:
        self.late = True
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    """Has a short time limit for connecting, and a longer one for the answer."""

    def __init__(self, *args: Any, watch: _Watch, **options: Any) -> None:
        super().__init__(*args, **options)
        self.watch = watch

    def connect(self) -> None:
        super().connect()
        self.watch.over(self.sock)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same through TLS."""


class _Watched(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Connection, watch=self.watch), req)  # pyright: ignore[reportArgumentType]


class _SecureWatched(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_SecureConnection, watch=self.watch), req)  # pyright: ignore[reportArgumentType]


def _opener(url: str, watch: _Watch) -> urllib.request.OpenerDirector:
    """Opens http:// and https:// URLs through the environment's proxies, without following redirects."""
    direct = is_loopback(urllib.parse.urlsplit(url).hostname or "")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if direct else None),
        _Watched(watch),
        _SecureWatched(watch),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _answer(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> Answer | None:
    """The whole answer; None if it is too large."""
    answer: Any
    try:
        answer = opener.open(request, timeout=CONNECT_SECONDS)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        body = answer.read(LARGEST_ANSWER + 1)
        if len(body) > LARGEST_ANSWER:
            return None
        if answer.length:  # Content-Length announced more
            raise http.client.IncompleteRead(body, answer.length)
        return Answer(answer.status, answer.headers, body)


def _lost(url: str, watch: _Watch, reason: object) -> ContactLostError:
    why = f"timed out after {ANSWER_SECONDS} s" if watch.late else str(reason) or type(reason).__name__
    return ContactLostError(f"the service at {url} does not answer: {why}")


def _host_of(url: str, location: str) -> str:
    """Scheme and host that a redirect leads to, without user, password, path and query."""
    try:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(url, location))
        where = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
    except ValueError:
        where = "nowhere"
    return re.sub(r"[^!-~]", "?", where)[:200]


def _checked(token: str) -> str:
    if not TOKEN.fullmatch(token.strip()):
        raise ConfigError(
            "ATTN_SERVICE_TOKEN is not a token: it contains spaces, line breaks or characters beyond ASCII"
        )
    return token.strip()


@functools.cache
def _warn_in_clear(url: str) -> None:
    """Warn once that the token is sent unencrypted."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        print(
            f"warning: the token is sent to {parts.hostname} unencrypted: use https://, or an SSH tunnel: "
            f"ssh -L 8000:127.0.0.1:{parts.port or 80} {parts.hostname}",
            file=sys.stderr,
        )
