"""What the service answers with."""

from __future__ import annotations

__all__ = ["Health", "JobList", "JobStatus", "Problem", "RunDetail", "RunList", "RunSummary"]

from typing import Any

from pydantic import BaseModel, ConfigDict

Plain = str | bool | int | float | None
"""A value of a file that a run wrote; NaN and infinity are answered as null."""


class Health(BaseModel):
    """The service answers."""

    status: str
    version: str


class RunSummary(BaseModel):
    """A run's state as its `run.json` has it; times in seconds since 1970, UTC.

    Attributes:
        state: `running`, `done`, `failed` or `cancelled`; `broken`: its files cannot be read, and `error` says why.
        metrics: Of the last committed checkpoint; None stands for a value that is not a number.
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
    """One run, with its resolved config, and where its model and its record are."""

    config: dict[str, Any]
    model: str | None = None
    tracking_run: str | None = None


class JobStatus(BaseModel):
    """A job, and what its run says of itself; times in seconds since 1970, UTC.

    Attributes:
        state: `queued`, `running`, `unreachable`: it ran when its cluster was last heard of; `done`, `failed`,
            `cancelled`, or `lost`: it is gone and left no word.
        waiting: Why it has not started.
        stages: Of a pipeline, those that it has come to: `running`, `done`, `reused`, or `interrupted`. Epoch, step,
            progress and eta are those of the stage that it is at.
        progress: The last step that the run told of: epoch, step, losses, images per second; of a sweep its trials,
            how many have ended, and the best so far.
        eta: Seconds that are left, by that; None where nothing was told for two minutes.
        metrics: Of the last committed checkpoint; of a pipeline or sweep that has ended, what came of it.
        broken: Why its run's files cannot be read, where that is so; what they would say is left out.
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
    submitted: float
    started: float | None = None
    ended: float | None = None
    epoch: int | None = None
    step: int | None = None
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
    """An error, as RFC 9457 has it; `code` is the stable name of its class."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
