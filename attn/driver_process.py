"""The process that drives a run: whether it still does, and how it is asked to end."""

from __future__ import annotations

__all__ = [
    "DRIVEN",
    "INTERRUPTED",
    "Driver",
    "driver_of",
    "end_driver",
    "gone_text",
    "process_text",
    "shown_stages",
    "shown_state",
]

import contextlib
import os
import platform
import signal
from collections.abc import Callable, Iterator
from typing import Literal

from attn.errors import RunError
from attn.process_identity import created_about, is_running
from attn.run_state import RunState

INTERRUPTED = "interrupted"
DRIVEN = ("starting", "running")
"""States in which a process drives a run."""
Driver = Literal["here", "gone", "elsewhere"]
"""`here`: a process of this machine drives the run; `gone`: it ended without a word, or is on another machine and was
not heard of for long; `elsewhere`: it is a process of another machine, which cannot be seen from here."""


def driver_of(state: RunState) -> Driver | None:
    """Return the state of the process that drives a run; None for a run that none drives."""
    if state.state not in DRIVEN:
        return None
    if state.host != platform.node():
        return "elsewhere"
    return "here" if _drives(state) else "gone"


def shown_state(state: RunState, driver: Driver | None) -> str:
    """A run's state for people: one whose process is gone is interrupted, whatever its `run.json` says.

    Args:
        driver: As `driver_of` has it.
    """
    return INTERRUPTED if driver == "gone" else state.state or ""


def shown_stages(state: RunState, *, driven: bool) -> dict[str, str]:
    """The state of each stage of a pipeline for people.

    A stage that the pipeline has begun and not ended has ended as the pipeline has: `cancelled`, `failed`, or
    `interrupted` if its process is gone. One that it has not begun is `waiting`, or `not begun` if nothing drives it.

    Args:
        driven: A process may be driving the pipeline; without one, no stage of it runs.
    """
    left = INTERRUPTED if state.state in ("running", "waiting", None) else state.state
    begun = {
        name: "reused" if stage.reused else left if stage.state == "running" and not driven else stage.state
        for name, stage in (state.stages or {}).items()
    }
    waiting = "waiting" if driven else "not begun"
    return begun | {name: waiting for name in state.stage_names or [] if name not in begun}


def process_text(state: RunState) -> str:
    """The process that drives a run, and its machine, for a message; `run.json` may lack either."""
    process = f"process {state.pid}" if isinstance(state.pid, int) else "a process"
    return f"{process} of {state.host or 'a machine that run.json does not name'}"


def gone_text(state: RunState) -> str:
    """How it is known that the process which drove a run is gone, for a message."""
    if driver_of(state) == "elsewhere":
        return f"{process_text(state)} was not heard of for minutes"
    return "its process has ended"


def end_driver(state: RunState, *, now: bool = False) -> None:
    """Ask the process that drives a run to close it, by SIGTERM.

    The signal goes to the process that was checked: its number may be another's a moment later.

    Args:
        now: Kill it: the run is not closed, and can be resumed from its last checkpoint.

    Raises:
        RunError: No process of this machine drives the run, it belongs to another user, or `run.json` does not
            identify it: its number may then be a stranger's.
    """
    gone = RunError(f"run {state.id!r} is not driven by a process of this machine")
    if driver_of(state) != "here" or not isinstance(state.pid, int):
        raise gone
    if not isinstance(state.process, str):
        raise RunError(
            f"run {state.id!r} was driven by process {state.pid}, and run.json does not say which process that is: "
            "it may be another one by now, so nothing was ended; look with `ps`, and end it yourself if it is the run"
        )
    kind = signal.SIGKILL if now else signal.SIGTERM
    try:
        with _held(state.pid) as send:
            if not is_running(state.pid, state.process):
                raise gone
            send(kind)
    except PermissionError:
        raise RunError(f"run {state.id!r} is process {state.pid} of another user, who alone can end it") from None
    except OSError:
        raise gone from None


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """Sends signals to the process that has this number now, and to no later one."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        yield lambda number: os.kill(pid, number)
        return
    process = os.pidfd_open(pid)
    try:
        yield lambda number: signal.pidfd_send_signal(process, number)
    finally:
        os.close(process)


def _drives(state: RunState) -> bool:
    known = isinstance(state.process, str)  # else the run was begun by an earlier version
    return is_running(state.pid, state.process) if known else created_about(state.pid, state.create_time)
