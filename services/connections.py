"""Connections of the web server: how many there may be, and how long a client may take over what it sends and reads.

uvicorn has no time limit for a request's headers or body, none for an answer that nobody reads, and no limit of a
request's headers. Here each connection notes whose turn it is; the server looks at all of them twice a second.
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
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from services.problems import problem

ACCEPTED_AT_ONCE = 64
"""Connections that are taken before the next look at the limits."""
WAITING_AT_THE_DOOR = 1024
"""Connections that the kernel holds until they are taken; further clients try again after a second."""
OWN_FILES = 256
"""Open files that are left to the service itself: its table, logs, runs, drivers, connections to clusters and S3."""
CHECK_TICKS = 5
"""Ticks of uvicorn, of a tenth of a second, between two looks at the connections."""
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Attributes:
        connections: In all. One more takes the place of that which has kept the service waiting longest.
        per_client: From one address (of IPv6 one network of 64 bits), likewise.
        header_seconds: Until a request's headers are there, from the connection or the last answer on.
        body_seconds: Until a request's body is there, from its headers on.
        read_seconds: In which a client must take some of an answer that waits for it.
        header_bytes: Of a request's line and headers; somewhat more passes if it arrives at once.
        request_bytes: Of a whole request. Bodies are refused earlier, but heard out, so that their senders see why.
    """

    connections: int = 1000
    per_client: int = 500
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0
    header_bytes: int = 64 << 10
    request_bytes: int = 64 << 20


def allowed_connections(wanted: int) -> int:
    """How many connections leave the service the files that it needs; raises this process's soft limit where it can."""
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
    """uvicorn's settings, with limits for clients. Strangers cannot write into the log: it has errors only."""

    def __init__(self, app: ASGIApp, limits: Limits, **settings: Any) -> None:
        super().__init__(
            app, http=LimitedProtocol, ws="none", log_level="error", backlog=ACCEPTED_AT_ONCE, **settings
        )  # fmt: skip
        self.limits = limits
        self.clients: Counter[str] = Counter()


class LimitedServer(uvicorn.Server):
    """A server that looks at its connections twice a second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(WAITING_AT_THE_DOOR)  # asyncio has one number for this and for how many it takes at once

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
        awaited: What the client owes: a request's `head`, or the rest of its `body`; None: it is the service's turn.
        since: From when on it is waited for, by the loop's clock.
        received: Bytes of the present request.
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
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
            self._refuse(431, f"a request's headers may have {self.limits.header_bytes} bytes", "headers")
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
        """End a connection that has kept the service waiting for too long."""
        left = self.transport.get_write_buffer_size()
        if not left or left != self.unread[0]:
            self.unread = (left, now)
        elif now - self.unread[1] > self.limits.read_seconds:
            self.transport.abort()
            return
        if self.awaited == "body" and self.flow.read_paused:  # the service does not read on
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
        """End the connection, of an address or of any, that has kept the service waiting longest; False: none has."""
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
        """Count this connection no more; it may be told twice."""
        if self in self.connections:
            self.connections.discard(self)
            self.clients[self.address] -= 1
            if not self.clients[self.address]:
                del self.clients[self.address]

    def _refuse(self, status: int, detail: str, code: str) -> None:
        """Answer with a problem and hang up; where an answer has begun already, only hang up."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        headers = {"Connection": "close"} | ({"Retry-After": str(RETRY_SECONDS)} if status == 503 else {})
        answer = problem(status, detail, code, headers)
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()


def _network(client: tuple[str, int] | None) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which one machine may have alone."""
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))
