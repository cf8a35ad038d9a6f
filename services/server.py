"""A web server for the service, for as long as it is wanted; its address stands in a file for the command line."""

from __future__ import annotations

__all__ = ["run_server"]

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from attn.errors import RunError
from jobs.runs.process_identity import process_identity
from services.connections import LimitedConfig, LimitedServer, Limits, allowed_connections

SESSION_NICENESS = 10
"""With 19 a status took 16 ms where every core trained, with this 4; a training is slowed down as little."""


def run_server(
    app: FastAPI,
    host: str,
    port: int,
    address_file: Path | None = None,
    *,
    own_token: bool = False,
    told: str | None = None,
    begin: Callable[[], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; the address is told on standard error, and in a file while it is served.

    Args:
        own_token: The token lies beside the address, for the command line of the same user.
        told: A line for standard error, once the service can be reached.
        begin: What is not to happen where the service cannot be reached.

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
        url = f"http://{shown}:{listener.getsockname()[1]}"
        if address_file is not None:
            process = {"pid": os.getpid(), "process": process_identity(os.getpid())}
            address_file.write_text(json.dumps({"url": url, **process, "own_token": own_token}), encoding="utf-8")
        if begin is not None:
            begin()
        print(f"serving {url}", *([told] if told else []), sep="\n", file=sys.stderr, flush=True)
        _give_way()
        limits = Limits(connections=allowed_connections(Limits.connections))
        server = LimitedServer(LimitedConfig(app, limits, timeout_graceful_shutdown=3))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return
        finally:
            if address_file is not None:
                address_file.unlink(missing_ok=True)


def _give_way() -> None:
    """Let answers wait for whatever else this machine computes: a training is slowed down by less, they are not missed.

    Linux counts it by threads: this one and those that it starts for answers, not the supervisor's, whose jobs would
    inherit it. Where it schedules each session as a whole (autogroups, see `man sched`), that tells within the session
    only, and the session has to give way itself. One that belongs to others, such as a shell's, is left as it is.
    """
    if sys.platform != "linux":
        return
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a kernel without them
            Path("/proc/self/autogroup").write_text(str(SESSION_NICENESS), encoding="ascii")
