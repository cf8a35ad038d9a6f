"""The service's own web server in a thread of a test, on a free port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from fastapi import FastAPI

from services.connections import LimitedConfig, LimitedServer, Limits

SECONDS = 60.0


@contextlib.contextmanager
def serving(app: FastAPI, limits: Limits) -> Iterator[int]:
    """Serve an application; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = LimitedServer(LimitedConfig(app, limits, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()
        assert not thread.is_alive()
