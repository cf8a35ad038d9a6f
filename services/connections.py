"""Limits on the web server's connections: their number, the size of requests, and the time that clients may take.

uvicorn limits neither the time for a request's headers and body, nor the time for reading an answer, nor the size of
headers. Here each connection records what it waits for, and the server checks all connections twice a second.
"""

from __future__ import annotations

__all__ = ["Limits", "LimitedConfig", "LimitedServer", "allowed_connections"]

import asyncio
import contextlib
import ipaddress
import resource
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from services.problems import problem

ACCEPTED_AT_ONCE = 64
"""Connections that are accepted before the limits are checked again."""
LISTEN_BACKLOG = 1024
"""Connections that the kernel holds until they are accepted; further clients try again after a second."""
OWN_FILES = 256
"""Open files reserved for the service itself: its table, logs, runs, drivers, connections to clusters and S3."""
CHECK_TICKS = 5
"""uvicorn's ticks (0.1 s each) between two checks of the connections."""
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Limits:
    """Limits on what clients may use.

    Attributes:
        connections: Largest number of connections. One more replaces the connection whose client has been silent
            longest.
        per_client: Largest number from one IPv4 address or one IPv6 /64 network; one more replaces likewise.
        header_seconds: Time for a request's headers, from the connection or the previous answer on.
        body_seconds: Time for a request's body, from its headers on.
        read_seconds: Time within which a client must read some part of a pending answer.
        header_bytes: Size of a request's line and headers; slightly more passes if it arrives in one piece.
        request_bytes: Size of a whole request. Larger bodies than `access.MAX_BODY` are refused but still read, so
            that their clients see the answer.
    """

    connections: int = 1000
    per_client: int = 500
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0
    header_bytes: int = 64 << 10
    request_bytes: int = 64 << 20


def allowed_connections(wanted: int) -> int:
    """Number of connections that the limit of open files permits; raises this process's soft limit where possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + ACCEPTED_AT_ONCE + OWN_FILES
    if soft in (-1, resource.RLIM_INFINITY) or soft >= needed:
        return wanted
    raised = needed if hard in (-1, resource.RLIM_INFINITY) else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return min(wanted, max(soft - ACCEPTED_AT_ONCE - OWN_FILES, soft // 4))


class LimitedConfig(uvicorn.Config):
    """uvicorn's settings with limits for clients. Only errors are logged, so clients cannot fill the log."""

    def __init__(self, app: ASGIApp, limits: Limits, **settings: Any) -> None:
        super().__init__(
            app, http=LimitedProtocol, loop="asyncio", ws="none", log_level="error", backlog=ACCEPTED_AT_ONCE,
            **settings,
        )  # fmt: skip
        self.limits = limits
        self.clients: Counter[str] = Counter()


class LimitedServer(uvicorn.Server):
    """A server that checks its connections twice a second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(LISTEN_BACKLOG)  # asyncio uses one number for this and for how many it accepts at once

    async def on_tick(self, counter: int) -> bool:
        if counter % CHECK_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
                    connection.check(now)
        return await super().on_tick(counter)


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        awaited: What the client must send next: a request's `head` or the rest of its `body`; None while the service
            works on the answer.
        since: Since when it is awaited, by the loop's clock.
        received: Bytes of the current request so far.
    """

    def __init__(
        self,
        config: LimitedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits, self.clients = config.limits, config.clients
        self.awaited: Literal["head", "body"] | None = "head"
        self.since, self.received = self.loop.time(), 0
        self.unread = (0, self.since)
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.address = _network(self.client)
        self.clients[self.address] += 1
        for full, others in (
            (self.clients[self.address] > self.limits.per_client, self.address),
            (len(self.connections) > self.limits.connections, None),
        ):
            if full and not self._make_room(others):
                self._refuse(503, "the service has as many connections as it can serve; try again", "busy")
                return

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.awaited != "body" and self.received > self.limits.header_bytes:
            self._refuse(431, f"the request's headers have more than {self.limits.header_bytes} bytes", "headers")
        elif self.received > self.limits.request_bytes:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._await("body")

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.received = 0
        self._await("head" if self.cycle.response_complete else None)

    def on_response_complete(self) -> None:
        if self.awaited is None and not self.pipeline:
            self._await("head")
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg, "http")

    def check(self, now: float) -> None:
        """Close a connection if its client has been silent for too long."""
        left = self.transport.get_write_buffer_size()
        if not left or left != self.unread[0]:
            self.unread = (left, now)
        elif now - self.unread[1] > self.limits.read_seconds:
            self.transport.abort()
            return
        if self.awaited == "body" and self.flow.read_paused:  # the service itself has paused reading
            self.since = now
        limit = self.limits.header_seconds if self.awaited == "head" else self.limits.body_seconds
        if self.awaited is None or self.transport.is_closing() or now - self.since <= limit:
            return
        if self.received:
            self._refuse(408, f"the request's {self.awaited} did not arrive within {limit:g} seconds", "slow")
        else:
            self.transport.close()

    def _await(self, what: Literal["head", "body"] | None) -> None:
        self.awaited, self.since = what, self.loop.time()

    def _make_room(self, address: str | None) -> bool:
        """Close the connection (of one address, or of any) whose client has been silent longest; False if none is."""
        waiting = [
            other
            for other in self.connections
            if isinstance(other, LimitedProtocol)
            and other is not self
            and other.awaited is not None
            and address in (None, other.address)
        ]
        if not waiting:
            return False
        longest = min(waiting, key=lambda other: other.since)
        longest.transport.abort()
        longest._leave()
        return True

    def _leave(self) -> None:
        """Stop counting this connection; calling it twice is harmless."""
        if self in self.connections:
            self.connections.discard(self)
            self.clients[self.address] -= 1
            if not self.clients[self.address]:
                del self.clients[self.address]

    def _refuse(self, status: int, detail: str, code: str) -> None:
        """Answer with a problem and close the connection; if an answer has begun already, only close it."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        headers = {"Connection": "close"} | ({"Retry-After": str(RETRY_SECONDS)} if status == 503 else {})
        answer = problem(status, detail, code, headers)
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()


def _network(client: tuple[str, int] | None) -> str:
    """The IPv4 address or IPv6 /64 network that counts as one client; a single machine may own a whole /64."""
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))
