"""The interface between the supervisor and the runners of drivers, and the files of a job in the state folder."""

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
"""Files of an attempt: its order, its exit status, when it was asked to stop, and where its part of the log begins."""


@dataclass(frozen=True)
class Running:
    """The driver runs or is being started.

    Attributes:
        columns: Values to write to the job's row in the table.
    """

    columns: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Unreachable:
    """The state is unknown: the job server does not answer, and may answer later."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The driver has ended.

    Attributes:
        state: The job's final state.
        reported: Whether the driver itself reported how it ended.
        lost: Whether it was killed, or its machine was lost.
    """

    state: str
    error: str | None
    reported: bool = False
    lost: bool = False


DriverStatus = Running | Unreachable | Ended


class Runner(Protocol):
    """Runs drivers. All it needs to know of a job is in the table, so a restarted service can continue."""

    def unready(self) -> str | None:
        """Why no job can be started now; None if one can."""
        ...

    def start(self, job: Job) -> Running: ...

    def poll(self, job: Job) -> DriverStatus:
        """The state of a driver. Also copies its log, which is complete once `Ended` is returned."""
        ...

    def request_stop(self, job: Job) -> bool:
        """Ask a driver to close its run and end; False if it cannot be asked now."""
        ...

    def kill(self, job: Job) -> None: ...

    def cleanup(self, job: Job) -> None:
        """End the processes that a driver has left behind, and forget the job."""
        ...


@dataclass(frozen=True)
class StateDir:
    """The folder on this machine for the service's own files.

    Attributes:
        root: Folder or prefix of the runs.
        path: The state folder.
        data_roots: Folders and prefixes that jobs may read besides the root.
    """

    root: str
    path: Path
    data_roots: tuple[str, ...] = ()

    def file(self, job: Job, name: str) -> Path:
        """A file of a job's current attempt."""
        return self.path / "jobs" / f"{job.id}.{job.attempt}.{name}"

    def files(self, job: Job) -> Iterator[Path]:
        """All files that a job may have here, of all its attempts. A log in the run's folder is not among them."""
        for attempt in range(1, job.attempt + 1):
            for name in FILES:
                yield self.file(replace(job, attempt=attempt), name)
        if not RunFolder(self.root, job.id).is_local:
            yield self.log(job.id)

    def log(self, job_id: str) -> Path:
        """A job's log: in the run's folder, or in the state folder if the run is in an object store."""
        folder = RunFolder(self.root, job_id)
        return Path(folder.path("job.log")) if folder.is_local else self.path / "jobs" / f"{job_id}.log"


def order_json(job: Job, state_dir: StateDir, address: str | None) -> str:
    """The order that a driver reads, as JSON."""
    submission = Submission(
        id=job.id, kind=job.kind, target=job.target, config=job.config,  # pyright: ignore[reportArgumentType]
        files=job.files or {}, overrides=job.overrides or [], address=address,
    )  # fmt: skip
    return json.dumps(
        {"submission": submission.model_dump(), "root": state_dir.root, "data_roots": state_dir.data_roots}
    )


def ended_by_status(status: int, error: str | None, *, reported: bool) -> Ended:
    """State of a job by its driver's exit status."""
    return Ended({0: "done", 3: "cancelled"}.get(status, "failed"), error or None, reported)


def signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
