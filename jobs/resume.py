"""Continue an interrupted run of any kind."""

from __future__ import annotations

__all__ = ["EndedRun", "resume"]

from dataclasses import dataclass
from typing import Any

from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.errors import RunError
from attn.run_state import RunState
from attn.runs.result import RunResult
from attn.runs.table import KINDS, job_of
from attn.tracking import send_pending
from attn.tracking.model_lookup import ModelLookup
from jobs.runs.claim import check_ended
from jobs.runs.lifecycle import say_done, warned
from jobs.runs.listing import find_run
from jobs.runs.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class EndedRun(RunResult):
    """A run that was done already: what its `run.json` says."""

    state: RunState

    def to_json(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "folder": self.folder, **self.state.to_json()}


def resume(run: str, *, root: str = "runs", address: str | None = None) -> RunResult:
    """Continue a run from where it stopped; one that is done sends what its record lacks.

    Args:
        run: Its id under `root`, or its folder.

    Returns:
        As the `run` of its kind; of a kind without files that is done already, an `EndedRun`.

    Raises:
        RunError: There is no such run, or it is still running.
    """
    folder = RunFolder.of(run, root)
    state = find_run(folder)
    if state.number is not None and state.state != "done" and (sweep := RunFolder.around(folder)) is not None:
        raise RunError(f"{folder.run_id!r} is a trial of sweep {sweep.run_id!r}, which continues it: {sweep.resuming}")
    kind = str(state.kind)
    if kind not in KINDS:  # an early version did not write it
        kind = "train"
    if KINDS[kind].config is None:
        if state.state == "done":
            return _done(folder, state)
        check_ended(folder, state)
    return job_of(kind).resume(run, root=root, address=address)


def _done(folder: RunFolder, state: RunState) -> EndedRun:
    say_done(folder)
    if folder.exists("config.yaml"):
        file = folder.path("config.yaml")
        values = read_document(folder.read_text("config.yaml"), file).values
        section = values.get("tracking") or {"enabled": False}
        tracking = resolve(ModelLookup, dump_values({"tracking": section}), file, []).tracking
        with warned("what its record lacks could not be sent"):
            send_pending(tracking, folder.root, state.tracking_run, folder.uri)
    return EndedRun(run_id=folder.run_id, folder=folder.uri, state=state)
