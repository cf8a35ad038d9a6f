"""The JSON objects that the service returns."""

from __future__ import annotations

__all__ = ["Health", "JobList", "JobStatus", "Problem", "RunDetail", "RunList", "RunSummary"]

from typing import Any

from pydantic import BaseModel, ConfigDict

Plain = str | bool | int | float | None
"""A value from a file that a run wrote; NaN and infinity become null."""


class Health(BaseModel):
    """The service answers."""

    status: str
    version: str


class RunSummary(BaseModel):
    """A run's state, from its `run.json`; times in seconds since 1970, UTC.

    Attributes:
        state: `running`, `done`, `failed` or `cancelled`; `broken`: its files cannot be read, see `error`.
        metrics: Metrics of the last committed checkpoint; null for a value that is not a number.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    kind: str | None = None
    state: str | None = None
    started: float | None = None
    ended: float | None = None
    epoch: int | None = None
    step: int | None = None
    metrics: dict[str, float | None] | None = None
    error: str | None = None


class RunList(BaseModel):
    """All runs, newest first."""

    runs: list[RunSummary]


class RunDetail(RunSummary):
    """One run with its resolved config, the folder of its model, and its MLflow run."""

    config: dict[str, Any]
    model: str | None = None
    tracking_run: str | None = None


class RunOfJob(BaseModel):
    """What the files of a job's run say of all its attempts, as `attn ls` and `attn status` show it.

    Attributes:
        what: Method, or what it works on.
        data: Source and split of its data.
        progress: Such as `3/15 epochs, step 96`, or `stage 2 of 5, cues` of a pipeline.
        started: When its first attempt began, in seconds since 1970.
        seconds: Running time of all attempts that were not killed, without the pauses between them.
    """

    what: str | None = None
    data: str | None = None
    progress: str = ""
    started: float | None = None
    seconds: float | None = None


class JobStatus(BaseModel):
    """A job and the state of its run; times in seconds since 1970, UTC.

    Attributes:
        state: `queued`, `running`, `done`, `failed`, `cancelled`; `unreachable`: it ran when its cluster last
            answered; `lost`: its process is gone without a report.
        waiting: Why it has not started; of a training that has, what its cluster lacks for its workers.
        started, ended: Of the last attempt.
        restarts: How often the service has started it again after its driver was lost; null: never.
        run: What its run says of all attempts; null before it has begun.
        stages: State of each stage of a pipeline: `running`, `done`, `reused`, `waiting` for those before it; where the
            job has ended, `failed`, `cancelled` or `interrupted`, and `not begun`. Epoch, step, progress and eta are
            those of the current stage.
        progress: The last step that the run reported: epoch, step, losses, images per second. For a sweep: number of
            trials, ended trials, and the best so far.
        eta: Estimated seconds left; null if the run has reported nothing for two minutes.
        metrics: Metrics of the last committed checkpoint; for an ended pipeline or sweep, its result.
        broken: Why the files of its run cannot be read, if they cannot; fields from them are then null.
    """

    id: str
    kind: str
    target: str
    state: str
    error: str | None = None
    waiting: str | None = None
    cancelling: bool = False
    priority: int = 0
    max_duration: float | None = None
    attempt: int = 0
    restarts: int | None = None
    submitted: float
    started: float | None = None
    ended: float | None = None
    epoch: int | None = None
    step: int | None = None
    run: RunOfJob | None = None
    stages: dict[str, str] | None = None
    progress: dict[str, Plain | dict[str, Plain]] | None = None
    eta: float | None = None
    metrics: dict[str, float | None] | None = None
    broken: str | None = None


class JobList(BaseModel):
    """A page of jobs, newest first.

    Attributes:
        next: `cursor` of the next page; None after the last.
    """

    jobs: list[JobStatus]
    next: str | None = None


class Problem(BaseModel):
    """An error (RFC 9457); `code` is the stable name of its kind."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
