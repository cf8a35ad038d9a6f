"""What a run that is under way has reported last: its step, its figures and the time that is left."""

from __future__ import annotations

__all__ = ["finite", "last_report", "seconds_left"]

import math
from collections.abc import Mapping
from typing import Any

from attn.boot_clock import Moment
from attn.errors import AttnError
from attn.run_state import RunState
from jobs.runs.listing import reported_since
from jobs.runs.run_folder import RunFolder

FRESH_SECONDS = 120.0
"""How long a reported remaining time is believed."""


def last_report(folder: RunFolder, state: RunState) -> dict[str, Any]:
    """What a run, or a pipeline's current stage, reported last in this attempt; empty if nothing can be read."""
    try:
        stage = state.current_stage
        current = folder if stage is None else RunFolder(folder.root, stage.run_id)
        reported = current.read_json("progress.json")
        return reported if reported_since(reported, state) else {}
    except AttnError:
        return {}


def finite(value: Any) -> float | None:
    """A number of a file as a finite float; None if it is none, or too large for one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def seconds_left(reported: Mapping[str, Any]) -> float | None:
    """How long a run will take, as far as it said so in the last two minutes."""
    at, left, clock = finite(reported.get("time")), finite(reported.get("seconds_left")), reported.get("clock")
    if at is None or left is None or not isinstance(clock, str | None):
        return None
    since = Moment(at, clock).seconds_ago()
    return max(0.0, left - since) if since < FRESH_SECONDS else None
