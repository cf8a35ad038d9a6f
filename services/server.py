"""A web server for the service, for as long as it is wanted."""

from __future__ import annotations

__all__ = ["run_server"]

import socket
import sys

import uvicorn
from fastapi import FastAPI

from attn.errors import RunError


def run_server(app: FastAPI, host: str, port: int) -> None:
    """Serve until Ctrl-C; the address is told on standard error.

    Raises:
        RunError: The port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise RunError(f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port") from None
    with listener:
        shown = f"[{host}]" if ":" in host else host
        print(f"serving http://{shown}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return
