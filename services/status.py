"""A job as the API tells it: what the table has, and what its run says of itself meanwhile."""

from __future__ import annotations

__all__ = ["status_of"]

from typing import Any

from pydantic import TypeAdapter

from attn.errors import AttnError
from attn.run_state import RunState, StageState
from jobs.runs.boot_clock import Moment
from jobs.runs.run_folder import NoSuchRunError, RunFolder
from services.models import JobStatus, Plain
from services.table import RUNNING, Job

PROGRESS = "progress.json"
_PROGRESS = TypeAdapter(dict[str, Plain | dict[str, Plain]])

FRESH_SECONDS = 120.0


def status_of(job: Job, root: str, waiting: str | None) -> JobStatus:
    """A job's status.

    Args:
        waiting: Why it has not started.
    """
    run, broken = _state(root, job.id) if job.attempt else (RunState(id=job.id), None)  # what has not started has none
    stages = run.stages or {}
    at = next((stage.run_id for stage in stages.values() if stage.state == "running"), job.id)
    told = run if at == job.id else _state(root, at)[0]  # of a pipeline, the stage that it is at
    progress = _progress(job, root, at) if job.state in RUNNING else None
    metrics = run.metrics or told.metrics
    asked = {name: getattr(job, name) for name in JobStatus.model_fields if hasattr(job, name)}
    return JobStatus(
        **asked,
        waiting=waiting,
        cancelling=job.state in RUNNING and job.cancel is not None,
        epoch=told.epoch,
        step=told.step,
        stages={name: _how(stage, job) for name, stage in stages.items()} or None,
        progress=progress,
        eta=_eta(progress),
        metrics=metrics,
        broken=broken,
    )


def _progress(job: Job, root: str, run_id: str) -> dict[str, Any] | None:
    """What the run told last; None where it told nothing in this attempt, or nothing that can be read."""
    try:
        progress = _PROGRESS.validate_json(RunFolder(root, run_id).read(PROGRESS))
    except (AttnError, ValueError):
        return None
    at, clock, left = (progress.get(name) for name in ("time", "clock", "seconds_left"))
    if not (isinstance(at, int | float) and isinstance(clock, str | None) and isinstance(left, int | float | None)):
        return None
    started = Moment(job.started or 0.0, job.started_clock)
    return None if _noted(progress).seconds_ago() > started.seconds_ago() else progress  # of an earlier attempt


def _eta(progress: dict[str, Any] | None) -> float | None:
    if progress is None or progress.get("seconds_left") is None:
        return None
    since = _noted(progress).seconds_ago()
    return max(0.0, progress["seconds_left"] - since) if since < FRESH_SECONDS else None


def _noted(progress: dict[str, Any]) -> Moment:
    return Moment(progress.get("time", 0.0), progress.get("clock"))


def _how(stage: StageState, job: Job) -> str:
    """A stage's state; one that ran when its pipeline ended does so no more."""
    if stage.state == "running" and job.state not in RUNNING:
        return "interrupted"
    return "reused" if stage.reused else stage.state


def _state(root: str, run_id: str) -> tuple[RunState, str | None]:
    """A run's state, and why it cannot be read; an empty state where there is no run yet."""
    try:
        return RunFolder(root, run_id).state(), None
    except NoSuchRunError:
        return RunState(id=run_id), None
    except AttnError as error:
        return RunState(id=run_id), str(error)
