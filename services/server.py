"""The web server of the service; it writes its address to a file where the command line finds it."""

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
from attn.process_identity import process_identity
from services.connections import LimitedConfig, LimitedServer, Limits, allowed_connections

SESSION_NICENESS = 10
"""While a training used every core, a status request took 16 ms at niceness 19 and 4 ms at 10; trainings do not run
slower with 10."""


def run_server(
    app: FastAPI,
    host: str,
    port: int,
    address_file: Path | None = None,
    *,
    own_token: bool = False,
    note: str | None = None,
    page: str | None = None,
    begin: Callable[[], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        address_file: File that contains the address while the service runs.
        own_token: Whether the token is in a file beside it, for the command line of the same user.
        note: A line to print to standard error after the address.
        page: Path of a page, whose whole address is printed in place of the service's.
        begin: Called once the port is open, before the first request.

    Raises:
        RunError: The port is in use or not permitted.
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
        first = f"serving {url}" if page is None else f"open {url}{page}"
        print(first, *([note] if note else []), sep="\n", file=sys.stderr, flush=True)
        _lower_priority()
        limits = Limits(connections=allowed_connections(Limits.connections))
        server = LimitedServer(LimitedConfig(app, limits, timeout_graceful_shutdown=3))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return
        finally:
            if address_file is not None:
                address_file.unlink(missing_ok=True)


def _lower_priority() -> None:
    """Lower the priority of this thread and of the threads that answer requests, so that trainings run undisturbed.

    Linux sets niceness by thread. The supervisor's thread keeps its priority, as its jobs would inherit it. If the
    kernel schedules whole sessions (autogroups, see `man sched`), niceness counts only within a session; then the
    session's niceness is raised too, unless the session belongs to another process, such as a shell.
    """
    if sys.platform != "linux":
        return
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a kernel without autogroups
            Path("/proc/self/autogroup").write_text(str(SESSION_NICENESS), encoding="ascii")
