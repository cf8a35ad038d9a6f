"""The process that drives a run: no run has two."""

from __future__ import annotations

__all__ = ["check_claim", "check_ended", "check_kind", "claim", "process_fields", "refuse_replacing"]

import os
import platform
from collections.abc import Sequence
from typing import Any

from attn.driver_process import driver_of
from attn.errors import RunError
from attn.process_identity import process_identity
from attn.run_state import RunState
from jobs.runs.run_folder import NoSuchRunError, RunFolder

SHOWN = 3
"""Fields that a message names."""


def claim(folder: RunFolder, kind: str, *, again: bool) -> RunState | None:
    """The state of the run that lies in a folder; None where there is none.

    Args:
        again: An existing run of the same kind may be overwritten.

    Raises:
        RunError: The id is taken, or another process is driving the run.
    """
    if not folder.exists():
        return None
    state = folder.state()
    check_kind(folder, state, kind)
    if not again:
        raise RunError(f"run {folder.run_id!r} is there already: {folder.resuming}, or choose another --run-id")
    check_ended(folder, state)
    return state


def refuse_replacing(folder: RunFolder, differing: Sequence[str]) -> None:
    """Refuse to write another run over one that is done.

    Args:
        differing: Fields in which the new run differs from that one; without any it is the same run again.

    Raises:
        RunError: There are such fields.
    """
    if not differing:
        return
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    named = f"{', '.join(differing[:SHOWN])}{more}"
    raise RunError(
        f"run {folder.run_id!r} is there already and is done, with other values of {named}: choose another "
        f"--run-id, or remove {folder.uri} first"
    )


def check_kind(folder: RunFolder, state: RunState, kind: str) -> None:
    """Check that a run is of a kind.

    Raises:
        RunError: It is of another.
    """
    if state.kind != kind:
        raise RunError(
            f"run {folder.run_id!r} is there already and is of kind {state.kind}, not {kind}: choose another --run-id"
        )


def check_claim(folder: RunFolder) -> None:
    """Check that this process still drives a run that it has begun or continued.

    Raises:
        RunError: Another process has continued or replaced the run since.
    """
    try:
        state = folder.state()
    except NoSuchRunError:
        return
    fields = process_fields()
    if {name: getattr(state, name) for name in fields} != fields:
        raise RunError(
            f"run {folder.run_id!r} was taken over by process {state.pid} on {state.host}; this process "
            f"({os.getpid()}) is stale and may no longer write: stop it"
        )


def check_ended(folder: RunFolder, state: RunState) -> None:
    """Check that no other process of this machine drives a run that is to be continued.

    Raises:
        RunError: Another process drives it.
    """
    if state.pid != os.getpid() and driver_of(state) == "here":
        raise RunError(f"run {folder.run_id!r} is still running here, as process {state.pid}; end that first")


def process_fields() -> dict[str, Any]:
    """The fields of `run.json` that say that this process drives the run.

    The system reuses the number of a process that has ended, so `process` identifies it beyond doubt.
    """
    return {"pid": os.getpid(), "process": process_identity(os.getpid()), "host": platform.node()}
