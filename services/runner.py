"""What the supervisor needs of whatever runs a job's driver, and what a driver is told and leaves behind."""

from __future__ import annotations

__all__ = [
    "Unreachable",
    "Ended",
    "StateDir",
    "Running",
    "Runner",
    "DriverStatus",
    "ended_by_status",
    "order_json",
    "signal_name",
]

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jobs.runs.run_folder import RunFolder
from services.submission import Submission
from services.table import Job

FILES = ("json", "json.exit", "told", "start")
"""Of an attempt: its order, its exit status, when it was told to end, and where its part of a log begins."""


@dataclass(frozen=True)
class Running:
    """The driver is there, or on its way; `kept` are columns that the table is to have of it."""

    kept: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Unreachable:
    """Nobody can say: what runs the driver does not answer, which it may do again."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The driver is gone; `told` where it said itself how it ended."""

    state: str
    error: str | None
    told: bool = False


DriverStatus = Running | Unreachable | Ended


class Runner(Protocol):
    """Runs drivers. All that it must know of a job stands in the table, so that a restarted service finds it again."""

    def unready(self) -> str | None:
        """Why no job can be started now."""
        ...

    def start(self, job: Job) -> Running: ...

    def poll(self, job: Job) -> DriverStatus:
        """How a driver is doing; its log is copied meanwhile, and is whole when it has ended."""
        ...

    def request_stop(self, job: Job) -> bool:
        """Tell a driver to close its run and end; False where it could not be told yet."""
        ...

    def kill(self, job: Job) -> None: ...

    def cleanup(self, job: Job) -> None:
        """End what a driver has left behind."""
        ...


@dataclass(frozen=True)
class StateDir:
    """The folder of this machine that holds what is the service's own.

    Attributes:
        data_roots: What jobs may read besides what lies under the root.
    """

    root: str
    path: Path
    data_roots: tuple[str, ...] = ()

    def file(self, job: Job, name: str) -> Path:
        """A file of a job's present attempt."""
        return self.path / "jobs" / f"{job.id}.{job.attempt}.{name}"

    def files(self, job: Job) -> Iterator[Path]:
        """What there may be here of a job, of all its attempts; a run's folder is not the service's to clear."""
        for attempt in range(1, job.attempt + 1):
            for name in FILES:
                yield self.file(replace(job, attempt=attempt), name)
        if not RunFolder(self.root, job.id).is_local:
            yield self.log(job.id)

    def log(self, job_id: str) -> Path:
        """A job's log: in the run's folder, or here where that is in an object store."""
        folder = RunFolder(self.root, job_id)
        return Path(folder.path("job.log")) if folder.is_local else self.path / "jobs" / f"{job_id}.log"


def order_json(job: Job, state_dir: StateDir, address: str | None) -> str:
    """What a driver is to do, as the JSON that it reads."""
    submission = Submission(
        id=job.id, kind=job.kind, target=job.target, config=job.config,  # pyright: ignore[reportArgumentType]
        overrides=job.overrides or [], address=address,
    )  # fmt: skip
    return json.dumps(
        {"submission": submission.model_dump(), "root": state_dir.root, "data_roots": state_dir.data_roots}
    )


def ended_by_status(status: int, error: str | None, *, told: bool) -> Ended:
    """How a driver ended, by its exit status."""
    return Ended({0: "done", 3: "cancelled"}.get(status, "failed"), error or None, told)


def signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
