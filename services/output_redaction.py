"""Redacts secrets in what jobs print and the service answers: each character of a secret becomes a star.

Redacted are: values of environment variables named like secrets, passwords in URIs of the environment, secrets that the
service adds, user and password in any URI, secret parameters of queries, and values of `Authorization` headers.
"""

from __future__ import annotations

__all__ = ["RedactSecrets", "RedactingStream", "add_secrets", "redact_streams", "redact"]

import base64
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import quote, unquote, urlsplit

from markupsafe import escape

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = re.compile(r"(?i)(token|secret|passw(or)?d|credential|api_?key|private_?key|access_?key(_id)?)")
SHORTEST = 6
"""Characters. Shorter secrets are also ordinary words, and are not redacted."""
NAME = rb"[^?&=\s]"
SHAPES = (
    re.compile(rb"(?<=://)[^/\s\"'<>]+(?=@)"),
    re.compile(
        rb"(?i)(?<=[?&])(?=" + NAME + rb"*?(?:password|passwd|pwd|token|secret|key|signature))(" + NAME + rb"*=)"
        rb"([^&\s\"']+)"
    ),
    re.compile(rb"(?i)(authorization\W{1,4}(?:basic|bearer)\s+)([^\s\"',]+)"),
)
"""Each takes time linear in the length of any text: clients write much of it."""
UNCHANGED = (b"image/", b"text/css", b"text/javascript")
"""Types of answers that are not redacted."""
WITH_AT = re.compile(rb"(?<![^\s\"'<>])(?=[^\s\"'<>]*@)[^\s\"'<>]+")
WITH_KEY = re.compile(rb"://(?=[^/@:]*:)")
_added: set[str] = set()


def add_secrets(secrets: Iterable[str]) -> None:
    """Make more secrets known to this process."""
    _added.update(secret for secret in secrets if secret)


def redact(data: bytes) -> bytes:
    """Replace secrets by stars. The length stays; a secret that is cut off at an end of `data` is not found."""
    for secret in _known():
        if secret in data:
            data = data.replace(secret, b"*" * len(secret))
    for shape in SHAPES:
        data = shape.sub(_covered, data)
    return WITH_AT.sub(_without_keys, data)


class RedactingStream:
    """A text stream that redacts each line before writing it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.held = stream, ""

    def write(self, text: str) -> int:
        whole, newline, rest = (self.held + text).rpartition("\n")
        self.held = rest
        if newline:
            self._emit(whole + newline)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        rest, self.held = self.held, ""
        self._emit(rest)
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _emit(self, text: str) -> None:
        self.stream.write(redact(text.encode(errors="surrogateescape")).decode(errors="surrogateescape"))


@contextlib.contextmanager
def redact_streams() -> Iterator[None]:
    """Redact everything that this process prints through `sys.stdout` and `sys.stderr`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", RedactingStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class RedactSecrets:
    """Middleware that redacts each piece of each response body. A secret must not be split between two pieces.

    Pictures and the pages' own style and scripts pass unchanged: stars would damage them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        as_it_is = False

        async def covered(message: Message) -> None:
            nonlocal as_it_is
            if message["type"] == "http.response.start":
                as_it_is = dict(message["headers"]).get(b"content-type", b"").startswith(UNCHANGED)
            if message["type"] == "http.response.body" and message.get("body") and not as_it_is:
                message = {**message, "body": redact(message["body"])}
            await send(message)

        await self.app(scope, receive, covered)


def _known() -> list[bytes]:
    """All known secrets, also as escaped in URLs, JSON and HTML, longest first."""
    results = set(_added)
    for name, value in os.environ.items():
        if NAMES.search(name) and not os.path.exists(value):  # a path of a file that contains the secret stays readable
            results.add(value)
        if "://" in value:
            with contextlib.suppress(ValueError):
                password = urlsplit(value).password
                results |= {password, unquote(password)} if password else set()
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if password:
        results.add(base64.b64encode(f"{user}:{password}".encode()).decode())
    results = {secret for secret in results if len(secret) >= SHORTEST}
    forms = {
        form
        for secret in results
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], str(escape(secret)))
    }
    return sorted((form.encode(errors="surrogateescape") for form in forms), key=len, reverse=True)


def _covered(match: re.Match[bytes]) -> bytes:
    shown, hidden = (match[1], match[2]) if match.re.groups else (b"", match[0])
    return shown + b"*" * len(hidden)


def _without_keys(match: re.Match[bytes]) -> bytes:
    """Redact key and secret of a URI in a text without spaces; the secret may contain a slash."""
    whole = match[0]
    end = whole.rindex(b"@")
    matched = WITH_KEY.search(whole, 0, end)
    return whole if matched is None else whole[: matched.end()] + b"*" * (end - matched.end()) + whole[end:]
