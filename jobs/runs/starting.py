"""Runs that a process has accepted and not begun yet: they check their data and open their record first.

`starting.json` in the run's folder names the process until `run.json` does, so that the run is known meanwhile, and no
other process begins a run of this name. Once the process is gone, the file says nothing.
"""

from __future__ import annotations

__all__ = ["STARTING", "check_start", "forget_start", "start_of", "starting"]

import contextlib
import json
import os
import platform
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from attn.driver_process import process_text
from attn.errors import AttnError, RunError
from attn.files import transfer
from attn.run_state import RunState
from jobs.runs.claim import process_fields
from jobs.runs.heartbeat import SILENT_SECONDS, run_driver
from jobs.runs.run_folder import RunFolder
from jobs.runs.signals import sigterm_as_interrupt

STARTING = "starting"
FILE = "starting.json"


@contextlib.contextmanager
def starting(folder: RunFolder, kind: str) -> Generator[None]:
    """Make a run known as `starting` while the body prepares it; a run that is there already keeps its state.

    If the body ends before the run has begun, nothing of it is left.

    Raises:
        RunError: Another process is starting a run of this name, or the folder cannot be written.
    """
    if folder.exists():
        yield
        return
    check_start(folder)
    root = Path(folder.root)
    created = [path for path in (Path(folder.uri), root) if folder.is_local and not path.exists()]
    fields: dict[str, Any] = {"kind": kind, "state": STARTING, "started": time.time(), **process_fields()}
    state = RunState(id=folder.run_id).changed(**fields)
    if folder.is_local:
        with contextlib.suppress(NotADirectoryError, FileExistsError):  # writing says what is wrong
            Path(folder.uri).mkdir(parents=True, exist_ok=True)
    folder.write(FILE, json.dumps(state.to_json(), indent=1))
    try:
        with sigterm_as_interrupt():
            yield
    finally:
        with contextlib.suppress(AttnError):  # once this process has ended, the file says nothing
            forget_start(folder)
        for path in created:
            with contextlib.suppress(OSError):  # there is more in it
                path.rmdir()


def check_start(folder: RunFolder) -> None:
    """Check that no other process is starting a run in a folder.

    Raises:
        RunError: One is.
    """
    state = start_of(folder)
    if state is not None and (state.pid, state.host) != (os.getpid(), platform.node()):
        raise RunError(
            f"run {folder.run_id!r} is being started by {process_text(state)}: choose another --run-id, or "
            "end that first"
        )


def forget_start(folder: RunFolder) -> None:
    """Remove the note of a run that has begun, or will not."""
    transfer.remove(folder.path(FILE))


def start_of(folder: RunFolder) -> RunState | None:
    """The state of a run that a process is starting; None if there is none, or its process is gone."""
    try:
        if not folder.exists(FILE):
            return None
        state = RunState.parse(folder.read(FILE))
    except (AttnError, ValueError):  # it has begun just now, or the file is damaged
        return None
    driver = run_driver(folder, state)
    long_ago = time.time() - (state.started or 0.0) > SILENT_SECONDS
    return None if driver == "gone" or (driver == "elsewhere" and long_ago) else state
