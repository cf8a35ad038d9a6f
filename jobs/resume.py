"""Continue an interrupted run of any kind."""

from __future__ import annotations

__all__ = ["resume"]

from typing import Any

from attn.run_state import RunState
from attn.runs.table import KINDS, job_of
from attn.tracking import send_kept
from jobs.runs.lifecycle import check_ended, resolved_overrides, warned
from jobs.runs.open_model import model_lookup
from jobs.runs.run_folder import RunFolder


def resume(run: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Continue a run from where it stopped; one that is done sends what its record lacks.

    Args:
        run: Its id under `root`, or its folder.

    Returns:
        As the `run` of its kind; of a kind without files that is done already, what its `run.json` says.

    Raises:
        RunError: There is no such run, or it is still running.
    """
    folder = RunFolder.of(run, root)
    state = folder.state()
    kind = str(state.kind)
    if kind not in KINDS:  # an early version did not write it
        kind = "train"
    if KINDS[kind].config is None:
        if state.state == "done":
            return _done(folder, state)
        check_ended(folder, state)
    return job_of(kind).resume(run, root=root, address=address)


def _done(folder: RunFolder, state: RunState) -> dict[str, Any]:
    if folder.exists("config.yaml"):
        tracking = model_lookup(resolved_overrides(folder)).tracking
        with warned("what its record lacks could not be sent"):
            send_kept(tracking, folder.root, state.tracking_run, folder.uri)
    return {"run_id": folder.run_id, "folder": folder.uri, **state.to_json()}
