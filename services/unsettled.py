"""Whether a job or its run's files know better how a run is."""

from __future__ import annotations

__all__ = ["UNSETTLED", "has_ended_since"]

from collections.abc import Mapping
from typing import Any

from attn.run_state import BROKEN, RunState

UNSETTLED = ("queued", "running", "unreachable", "lost")
"""States of a job of which its run's files say nothing, or less."""
OUTLIVED = ("lost", "unreachable")
"""States of a job that say nothing of how its run has ended, or will."""


def has_ended_since(state: RunState, job: Mapping[str, Any]) -> bool:
    """Whether a run has ended since its job, of which the service knows no more, was begun: as its own files say."""
    begun = job.get("started")
    known = isinstance(begun, int | float) and state.ended is not None and state.ended >= begun
    return known and job["state"] in OUTLIVED and state.state not in ("running", "waiting", BROKEN)
