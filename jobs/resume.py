"""Continue what was interrupted, of whatever kind it is."""

from __future__ import annotations

__all__ = ["resume"]

from collections.abc import Callable
from typing import Any

from attn.runs.table import KINDS, job_of
from attn.tracking import send_kept
from jobs import compare, cues, evaluate, maps, segment_predict
from jobs.runs.lifecycle import check_ended, resolved_overrides, warned
from jobs.runs.open_model import model_lookup
from jobs.runs.run_folder import RunFolder

REPEATED: dict[str, Callable[[RunFolder, str | None], dict[str, Any]]] = {
    "compare": compare.resume,
    "cues": cues.resume,
    "evaluate": evaluate.resume,
    "maps": maps.resume,
    "masks": segment_predict.resume,
}
"""Kinds of runs that are short: an interrupted one is done again, into the same folder."""


def resume(run: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Continue a run from where it stopped; one that is done sends what its record lacks.

    Args:
        run: Its id under `root`, or its folder.

    Returns:
        As the `run` of its kind; of a short one that is done already what its `run.json` says.

    Raises:
        RunError: There is no such run, or it is still running.
    """
    folder = RunFolder.of(run, root)
    state = folder.state()
    kind = str(state.get("kind"))
    if kind not in REPEATED:
        return job_of(kind if kind in KINDS else "train").resume(run, root=root, address=address)
    if state.get("state") != "done":
        check_ended(folder, state)
        return REPEATED[kind](folder, address)
    if folder.exists("config.yaml"):
        tracking = model_lookup(resolved_overrides(folder)).tracking
        with warned("what its record lacks could not be sent"):
            send_kept(tracking, folder.root, state.get("tracking_run"), folder.uri)
    return {"run_id": folder.run_id, "folder": folder.uri, **state}
