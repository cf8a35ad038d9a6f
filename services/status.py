"""Builds a job's status for the API from its row in the table and from the files of its run."""

from __future__ import annotations

__all__ = ["status_of"]

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from attn.boot_clock import Moment
from attn.driver_process import shown_stages
from attn.errors import AttnError
from attn.run_state import RunState
from jobs.runs.listing import entry_of
from jobs.runs.run_folder import NoSuchRunError, RunFolder
from services.models import JobStatus, Plain, RunOfJob
from services.table import RUNNING, Job

PROGRESS = "progress.json"
_PROGRESS = TypeAdapter(dict[str, Plain | dict[str, Plain]])

FRESH_SECONDS = 120.0


def status_of(job: Job, root: str, waiting: str | None) -> JobStatus:
    """A job's status.

    Args:
        waiting: Why the job has not started; None if it has.
    """
    run, broken = _state(root, job.id) if job.attempt else (RunState(id=job.id), None)
    current = job.id if run.current_stage is None else run.current_stage.run_id
    state = run if current == job.id else _state(root, current)[0]  # of a pipeline's current stage
    progress = _progress(job, root, current) if job.state in RUNNING else None
    metrics = run.metrics or state.metrics
    columns = {name: getattr(job, name) for name in JobStatus.model_fields if hasattr(job, name)}
    return JobStatus(
        **columns,
        waiting=waiting or str((progress or {}).get("text") or "") or None,
        cancelling=job.state in RUNNING and job.cancel is not None,
        epoch=state.epoch,
        step=state.step,
        run=_summary(job, root, run) if run.kind and broken is None else None,
        stages=shown_stages(run, driven=job.state in RUNNING) or None,
        progress=progress,
        eta=_eta(progress),
        metrics=metrics,
        broken=broken,
    )


def _progress(job: Job, root: str, run_id: str) -> dict[str, Any] | None:
    """The run's last reported progress; None if it reported none in this attempt, or it cannot be read."""
    try:
        progress = _PROGRESS.validate_json(RunFolder(root, run_id).read(PROGRESS))
    except (AttnError, ValueError):
        return None
    at, clock, left = (progress.get(name) for name in ("time", "clock", "seconds_left"))
    if not (isinstance(at, int | float) and isinstance(clock, str | None) and isinstance(left, int | float | None)):
        return None
    started = Moment(job.started or 0.0, job.started_clock)
    return None if _written(progress).seconds_ago() > started.seconds_ago() else progress  # of an earlier attempt


def _eta(progress: dict[str, Any] | None) -> float | None:
    if progress is None or progress.get("seconds_left") is None:
        return None
    since = _written(progress).seconds_ago()
    return max(0.0, progress["seconds_left"] - since) if since < FRESH_SECONDS else None


def _written(progress: dict[str, Any]) -> Moment:
    return Moment(progress.get("time", 0.0), progress.get("clock"))


def _summary(job: Job, root: str, run: RunState) -> RunOfJob:
    entry = entry_of(RunFolder(root, job.id), run)
    if job.state == "running" and run.state == "running":  # on a machine that this one may not see
        entry = replace(entry, driver="here")
    return RunOfJob(
        what=entry.about.what,
        data=entry.about.data,
        progress=entry.progress,
        started=run.started,
        seconds=entry.seconds,
    )


def _state(root: str, run_id: str) -> tuple[RunState, str | None]:
    """A run's state, and why it cannot be read; an empty state if there is no run yet."""
    try:
        return RunFolder(root, run_id).state(), None
    except NoSuchRunError:
        return RunState(id=run_id), None
    except AttnError as error:
        return RunState(id=run_id), str(error)
