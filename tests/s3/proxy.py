"""A bad network before an S3 server: a proxy that refuses requests, loses answers, corrupts bodies, or is away."""

from __future__ import annotations

__all__ = ["Action", "Fault", "Proxy", "proxy"]

import base64
import contextlib
import http.client
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


class Action(Enum):
    """What happens to a request: whether the server sees it, and what the client gets."""

    REFUSE = "the server does not see it; an error is answered"
    LOSE = "the server carries it out; the connection ends without an answer"
    DENY = "the server carries it out; an error is answered all the same"
    CUT = "the answer ends in the middle of its body"
    FLIP = "one bit in the middle of the answer's body is wrong"
    AWAY = "the server does not see it; the connection ends, and for some seconds no other one is accepted"


@dataclass
class Fault:
    """The next requests of one kind go wrong.

    Attributes:
        path: A regular expression that occurs in the path and query.
        times: How many of them.
        status, code: Of the error that is answered.
        seconds: How long the server is away.
    """

    method: str
    path: str
    action: Action
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 3.0


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        faults: Those still to come; tests append to it.
        checksums: Whether the answers that Amazon's server would send with a checksum have one; None as the server
            behind does.
        refuses_checksums: The status that a request with a checksum is answered; None where it is passed on.
        seen: Method and path of every request, in order.
    """

    endpoint: str = ""
    faults: list[Fault] = field(default_factory=list)
    checksums: bool | None = None
    refuses_checksums: int | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None
    start: Callable[[], None] = lambda: None
    _away: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_away(self) -> bool:
        return self._away.is_set()

    def leave(self, seconds: float) -> None:
        """End all connections and refuse new ones for so long."""
        with self._lock:
            if self.is_away:
                return
            self._away.set()
            self.stop()
        threading.Timer(seconds, self._return).start()

    def _return(self) -> None:
        self.start()
        self._away.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Note a request, and use up the first fault that concerns it."""
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, path: str) -> int:
        """How many such requests there were."""
        return sum(method == seen and bool(re.search(path, where)) for seen, where in self.seen)


def _has_checksum(headers: Message) -> bool:
    """Whether a request comes with what S3 servers had no name for until 2022."""
    names = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer", "x-amz-decoded-content-length")
    return any(name.lower().startswith(names) for name in headers) or "aws-chunked" in headers.get(
        "Content-Encoding", ""
    )


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy before the server at an address, for the time of the context."""
    location = urlsplit(upstream)
    state = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet for head and body: two would wait for each other's acknowledgement, 40 ms a request.
        wbufsize = -1
        disable_nagle_algorithm = True

        def handle_expect_100(self) -> bool:
            ready = super().handle_expect_100()
            self.wfile.flush()
            return ready

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = None if state.is_away else state.take(self.command, self.path)
            action = fault.action if fault else None
            if fault and action is Action.AWAY:
                state.leave(fault.seconds)
            if state.is_away:
                self.close_connection = True
                return
            if fault and action is Action.REFUSE:
                self._error(fault)
                return
            if state.refuses_checksums and _has_checksum(self.headers):
                self._error(Fault("", "", Action.REFUSE, status=state.refuses_checksums, code="NotImplemented"))
                return
            connection = http.client.HTTPConnection(location.hostname or "", location.port, timeout=60)
            with contextlib.closing(connection):
                # The host stays as the client signed it.
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            if fault and action is Action.DENY:
                self._error(fault)
            elif action is Action.LOSE:
                self.close_connection = True
            else:
                self._answer(answer, content, action)

        def _answer(self, answer: http.client.HTTPResponse, content: bytes, action: Action | None) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                checksum = state.checksums is not None and name.lower().startswith("x-amz-checksum-")
                if not checksum and name.lower() not in {*HOP_BY_HOP, "content-length"}:
                    self.send_header(name, value)
            # Of a whole object, to those who ask.
            if state.checksums and answer.status == 200 and self.headers.get("x-amz-checksum-mode") == "ENABLED":
                crc32 = zlib.crc32(content).to_bytes(4, "big")
                self.send_header("x-amz-checksum-crc32", base64.b64encode(crc32).decode())
            length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            middle = len(content) // 2
            if action is Action.CUT:
                content, self.close_connection = content[:middle], True
            elif action is Action.FLIP and content:
                content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            self.wfile.write(content)

        def _error(self, fault: Fault) -> None:
            text = f"<Error><Code>{fault.code}</Code><Message>made up</Message></Error>".encode()
            self.send_response(fault.status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.forward)
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start() -> None:
        server = ThreadingHTTPServer(("127.0.0.1", urlsplit(state.endpoint).port or 0), Handler)
        server.daemon_threads = True
        state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        running.append((server, thread))

    def stop() -> None:
        server, thread = running.pop()
        server.shutdown()
        server.server_close()
        thread.join()

    state.start, state.stop = start, stop
    start()
    try:
        yield state
    finally:
        while state.is_away:
            time.sleep(0.05)
        stop()
