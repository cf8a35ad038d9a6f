"""A file by which other machines see that the process that drives a run is still there."""

from __future__ import annotations

__all__ = ["ALIVE", "heartbeat", "is_silent", "run_driver"]

import contextlib
import json
import threading
import time
from collections.abc import Generator

from attn.driver_process import Driver, driver_of
from attn.errors import AttnError
from attn.run_state import RunState
from jobs.runs.run_folder import RunFolder

ALIVE = "alive.json"
BEAT_SECONDS = 60.0
SILENT_SECONDS = 600.0
"""A process that is not heard of for so long is gone: it waits two minutes for an object store that is away."""


@contextlib.contextmanager
def heartbeat(folder: RunFolder) -> Generator[None]:
    """Write the file every minute while the body runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with contextlib.suppress(AttnError):  # the next one may succeed
                folder.write(ALIVE, json.dumps({"at": time.time()}))

    threading.Thread(target=beat, name="attn-heartbeat", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def run_driver(folder: RunFolder, state: RunState) -> Driver | None:
    """As `driver_of`; a process of another machine that was not heard of for long is gone."""
    driver = driver_of(state)
    return "gone" if driver == "elsewhere" and is_silent(folder, state) else driver


def is_silent(folder: RunFolder, state: RunState) -> bool:
    """Return whether a run's process, on another machine, was not heard of for a while, though it had begun to write.

    A run of an earlier version writes nothing, and neither does one that has just begun: nothing is known of them.
    """
    try:
        at = folder.read_json(ALIVE).get("at")
    except AttnError:
        return False
    if not isinstance(at, (int, float)):
        return False
    return time.time() - max(at, state.started or 0.0, state.resumed or 0.0) > SILENT_SECONDS
