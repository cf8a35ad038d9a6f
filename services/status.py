"""A job as the API tells it: what the table has, and what its run says of itself meanwhile."""

from __future__ import annotations

__all__ = ["status_of"]

import contextlib
import json
from typing import Any

from attn.errors import AttnError
from jobs.boot_clock import Moment
from jobs.run_folder import RunFolder
from services.models import JobStatus
from services.table import RUNNING, Job

FRESH_SECONDS = 120.0


def status_of(job: Job, root: str, waiting: str | None) -> JobStatus:
    """A job's status.

    Args:
        waiting: Why it has not started.
    """
    run = _json(root, job.id, "run.json")
    stages: dict[str, dict[str, Any]] = run.get("stages") or {}
    at = next((stage["run_id"] for stage in stages.values() if stage.get("state") == "running"), job.id)
    told = run if at == job.id else _json(root, at, "run.json")  # of a pipeline, the stage that it is at
    progress = _progress(job, root, at) if job.state in RUNNING else None
    metrics = run.get("metrics") or told.get("metrics")
    asked = {name: getattr(job, name) for name in JobStatus.model_fields if hasattr(job, name)}
    return JobStatus(
        **asked,
        waiting=waiting,
        cancelling=job.state in RUNNING and job.cancel is not None,
        epoch=told.get("epoch"),
        step=told.get("step"),
        stages={name: _how(stage, job) for name, stage in stages.items()} or None,
        progress=progress,
        eta=_eta(progress),
        metrics=metrics,
    )


def _progress(job: Job, root: str, run_id: str) -> dict[str, Any] | None:
    progress = _json(root, run_id, "progress.json") or None
    if progress is None:
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


def _how(stage: dict[str, Any], job: Job) -> str:
    """A stage's state; one that ran when its pipeline ended does so no more."""
    if stage.get("state") == "running" and job.state not in RUNNING:
        return "interrupted"
    return "reused" if stage.get("reused") else str(stage.get("state"))


def _json(root: str, run_id: str, name: str) -> dict[str, Any]:
    with contextlib.suppress(AttnError, ValueError):
        folder = RunFolder(root, run_id)
        if folder.exists(name):
            return json.loads(folder.read(name))
    return {}
