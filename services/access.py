"""Access control of the service: tokens with roles, requests of other sites, and the size of request bodies."""

from __future__ import annotations

__all__ = ["ROLES", "Guard", "TokenDigests", "digests_of", "read_tokens", "tokens_of"]

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attn.errors import ConfigError, Fault
from services.problems import problem
from services.sessions import Session

ROLES = ("read", "submit", "admin")
SHORTEST = 16
MAX_BODY = 1 << 20
LOG_OUT = "/logout"
OPEN = ("/healthz", "/login", "/static/", "/enter/")
"""Paths that need no token: whether the service answers, pages to log in, and the style and scripts of all pages."""
DRAINED_BYTES, DRAIN_SECONDS = 60 << 20, 10.0
"""Bytes of a refused body that are still read: many clients read the answer only after they have sent everything."""


def read_tokens(file: str) -> dict[str, str]:
    """Roles by token, from a JSON file `{"token": "role"}` that only its owner can read.

    Raises:
        ConfigError: The file, a token or a role is invalid. The message shows no token.
    """
    path = Path(file)
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError([Fault(file, "can be read by other users", f"chmod 600 {file}")])
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    return tokens_of(text, file)


def tokens_of(text: str, where: str) -> dict[str, str]:
    """Roles by token, from JSON `{"token": "role"}`.

    Args:
        where: Names the text in messages.

    Raises:
        ConfigError: The text, a token or a role is invalid. The message shows no token.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise _unreadable(where, error) from None
    if not isinstance(given, dict) or not given:
        raise ConfigError([Fault(where, "contains no tokens", '{"TOKEN": "ROLE"}')])
    faults = [
        Fault(
            f"{where}, token {number}",
            "is too short or has an unknown role",
            f"{SHORTEST} characters or more; {', '.join(ROLES)}",
        )
        for number, (token, role) in enumerate(given.items(), 1)
        if len(token) < SHORTEST or role not in ROLES
    ]
    if faults:
        raise ConfigError(faults)
    return {str(token): str(role) for token, role in given.items()}


def _unreadable(where: str, error: Exception) -> ConfigError:
    return ConfigError([Fault(where, f"cannot be read as JSON ({type(error).__name__})", '{"TOKEN": "ROLE"}')])


def digests_of(tokens: Mapping[str, str]) -> dict[str, str]:
    """Roles by the SHA-256 of the token, so that a process can check tokens that it does not know."""
    return {_digest(token): role for token, role in tokens.items()}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Logins(Protocol):
    """Who may ask: by tokens, and perhaps by the sessions of browsers, as `Sessions`.

    Attributes:
        tokens: Empty: no token is needed.
    """

    @property
    def tokens(self) -> Mapping[str, str]: ...

    def role(self, token: str) -> str | None:
        """The role of a token; compares with every token, each in constant time."""
        ...

    def read(self, headers: Headers) -> Session | None:
        """The session of a browser's request."""
        ...


@dataclass(frozen=True)
class TokenDigests:
    """Logins by tokens alone, which are known by their digests.

    Attributes:
        tokens: As `digests_of`.
    """

    tokens: Mapping[str, str]

    def role(self, token: str) -> str | None:
        role, digest = None, _digest(token)
        for known, its_role in self.tokens.items():
            if hmac.compare_digest(known, digest):
                role = its_role
        return role

    def read(self, headers: Headers) -> Session | None:
        return None


class Guard:
    """Middleware that refuses requests without a sufficient role, of other sites, or with too large a body.

    GET and HEAD need the role `read`. Routes that need `admin` check `request.state.role`.
    Without tokens (`--no-token`) every request has the role `admin`; the service then must listen on loopback only.
    The role is that of the token in the `Authorization` header, or of a browser's session. A request that changes
    something by a session must carry the session's `csrf`.

    Args:
        writes: Role that other methods than GET and HEAD need.
        open_paths: Paths that need no token; those that end in `/` with all below them.
        max_body: Largest body in bytes.
        basic: Also take the token as the password of basic authentication, of programs that send nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Logins,
        *,
        writes: str = "submit",
        open_paths: tuple[str, ...] = OPEN,
        max_body: int = MAX_BODY,
        basic: bool = False,
    ) -> None:
        self.app, self.sessions, self.basic = app, sessions, basic
        self.writes, self.open_paths, self.max_body = writes, open_paths, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"]
        session = None if "authorization" in headers else self.sessions.read(headers)
        role = self._role(headers.get("authorization", ""), session)
        scope.setdefault("state", {}).update(role=role, csrf="" if session is None else session.csrf)
        if (refusal := self._refusal(scope["path"], method, headers, role)) is not None:
            if method not in ("GET", "HEAD"):
                await _drain(receive)
            await refusal(scope, receive, send)
            return
        body = bytearray()  # appending to bytes would copy all of them for every piece
        if method not in ("GET", "HEAD"):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > self.max_body:
                    if more:
                        await _drain(receive)
                    await self._too_large()(scope, receive, send)
                    return
            if session is not None and not session.sent_by_own_page(headers, bytes(body)):
                await problem(403, "the form is not of this session: load the page again", "csrf")(scope, receive, send)
                return
        await self.app(scope, _replay(bytes(body), receive) if method not in ("GET", "HEAD") else receive, send)

    def _refusal(self, path: str, method: str, headers: Headers, role: str | None) -> Response | None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.max_body:
            return self._too_large()
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            return problem(403, "web pages of other sites may not use this service", "origin")
        if not self.sessions.tokens or self._is_open(path):
            return None
        if role is None:
            answer = problem(401, "a valid token is needed: Authorization: Bearer TOKEN", "token")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        needed = "read" if method in ("GET", "HEAD") or path == LOG_OUT else self.writes
        if ROLES.index(role) < ROLES.index(needed):
            return problem(403, f"this needs the role {needed}, the token has {role}", "role")
        return None

    def _role(self, given: str, session: Session | None) -> str | None:
        """The role of a request by its `Authorization` header, or by its session."""
        if not self.sessions.tokens:
            return "admin"
        if session is not None:
            return session.role
        scheme, _, text = given.partition(" ")
        token = text.strip()
        if self.basic and scheme.lower() == "basic":
            try:
                scheme, token = "bearer", base64.b64decode(token, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return None
        role = self.sessions.role(token)
        return role if scheme.lower() == "bearer" else None

    def _is_open(self, path: str) -> bool:
        return any(path.startswith(one) if one.endswith("/") else path == one for one in self.open_paths)

    def _too_large(self) -> Response:
        return problem(413, f"the body is larger than {self.max_body} bytes", "body")


async def _drain(receive: Receive) -> None:
    """Read and discard the body of a refused request, within bounds, so that its client comes to read the answer."""
    drained, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while more and drained < DRAINED_BYTES:
                message = await receive()
                drained += len(message.get("body", b""))
                more = message.get("more_body", False)


@dataclass
class _Once:
    sent: bool = False


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body that was read already, then the client's further messages."""
    once = _Once()

    async def again() -> Message:
        if once.sent:
            return await receive()
        once.sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
