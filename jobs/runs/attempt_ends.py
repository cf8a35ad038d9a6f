"""What ended the attempts of a run, in its `run.json`."""

from __future__ import annotations

__all__ = ["next_attempt", "note_end"]

import time
from typing import Any

from attn.redaction import without_secrets
from attn.run_state import RunState
from jobs.runs.run_folder import RunFolder

MOST_ENDS = 100
"""Of the newest attempts."""


def next_attempt(state: RunState) -> int:
    """The number of the attempt that ends next, counted from 1."""
    ends = state.attempt_ends or []
    return 1 + int(ends[-1].get("attempt", len(ends)) if ends else 0)


def note_end(folder: RunFolder, error: str, cause: str | None) -> dict[str, Any]:
    """Add the end of an attempt to a run's `run.json`.

    Args:
        error: What ended it, in a line.
        cause: As that of `RunState`.

    Returns:
        The entry.
    """
    state = folder.state()
    end: dict[str, Any] = {"attempt": next_attempt(state), "at": time.time(), "epoch": state.epoch or 0}
    end["error"] = without_secrets(error)
    if cause is not None:
        end["cause"] = cause
    folder.update(attempt_ends=[*(state.attempt_ends or []), end][-MOST_ENDS:])
    return end
