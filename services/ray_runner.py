"""Runs drivers as Ray Jobs on a cluster, where they continue without the service and its machine."""

from __future__ import annotations

__all__ = ["RayRunner"]

import contextlib
import hashlib
import json
import shlex
import time
from typing import Any

from attn.boot_clock import Moment
from attn.errors import AttnError
from attn.files import locations, transfer
from attn.files.roots import SERVICE_FOLDER
from jobs.ray_cluster.shipped_code import read_code
from services.job_server import JobServer, JobServerError, LostContactError
from services.log import mark_attempt
from services.output_redaction import redact
from services.runner import (
    DriverStatus,
    Ended,
    Running,
    StateDir,
    Unreachable,
    ended_by_status,
    order_json,
    signal_name,
)
from services.table import Job

POLL_SECONDS = 1.0
LOST_SECONDS = 5.0
"""Seconds that a job server may not answer before its jobs count as unreachable."""
HAND_OVER_SECONDS = 120.0
"""Seconds that an answering job server may refuse a job: a head node does so for a while after its start."""
LOG_SHARE = 0.05
"""Largest share of the time that is spent fetching a log, as Ray returns the whole log each time."""
LONGEST_ERROR = 2000
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")


class RayRunner:
    """Submits each attempt of a job to a job server under a unique name, so that submitting twice is harmless.

    Order and exit status are under the root, which the cluster's nodes reach. The shell command that Ray runs contains
    no text of clients.
    """

    def __init__(self, url: str, state_dir: StateDir, grace: float) -> None:
        """Prepare the runner; the job server is not called yet. Its jobs run the code that is there now.

        Args:
            grace: Seconds that a driver has to close its run after it was asked to stop.

        Raises:
            RunError: The code is too large to be sent.
        """
        self.server, self.state_dir, self.grace, self.code = JobServer(url), state_dir, grace, read_code()
        self.statuses: dict[str, tuple[float, DriverStatus]] = {}
        self.copy_at: dict[str, float] = {}
        self.killed: set[str] = set()

    def unready(self) -> str | None:
        try:
            self.server.check()
        except AttnError as error:
            return str(error)
        return None

    def start(self, job: Job) -> Running:
        return Running()  # the next poll submits it, as after a restart of the service

    def poll(self, job: Job) -> DriverStatus:
        name = self._name(job)
        at, status = self.statuses.get(name, (0.0, None))
        if status is None or time.monotonic() - at > POLL_SECONDS:
            try:
                status = self._poll(job, name)
            except LostContactError as error:
                long = job.state == "unreachable" or self.server.lost_for > LOST_SECONDS
                status = Unreachable(str(error)) if long else Running()
            self.statuses[name] = time.monotonic(), status
        return status

    def request_stop(self, job: Job) -> bool:
        try:
            self.server.stop(self._name(job))
        except AttnError:
            return False
        return True

    def kill(self, job: Job) -> None:
        """Kill a driver at once. Ray's API cannot, so a second job on the driver's node does it."""
        name = self._name(job)
        with contextlib.suppress(AttnError):  # the next round tries again
            if name in self.killed:
                return
            self.server.stop(name)
            node = (self.server.job(name) or {}).get("driver_node_id")
            if node and self.server.job(f"{name}-kill") is None:
                line = _line("services.kill_driver", self._order(job))
                self.server.upload(self.code)
                self.server.submit(f"{name}-kill", line, self.code, node=node, environment={})
            self.killed.add(name)

    def cleanup(self, job: Job) -> None:
        name = self._name(job)
        self.statuses.pop(name, None)
        self.copy_at.pop(name, None)

    def _name(self, job: Job, *, back: int = 0) -> str:
        """An attempt's name at the job server; unique among roots and among tables that were removed.

        Args:
            back: How many attempts before the current one.
        """
        own = hashlib.sha256(f"{self.state_dir.root}:{job.submitted!r}".encode()).hexdigest()[:8]
        return f"attn-{job.id}-{job.attempt - back}-{own}"

    def _order(self, job: Job) -> str:
        return f"{self.state_dir.root}/{SERVICE_FOLDER}/jobs/{job.id}.{job.attempt}.json"

    def _poll(self, job: Job, name: str) -> DriverStatus:
        create_time = job.create_time
        if create_time is None:
            try:
                create_time = self._hand_over(job, name)
            except LostContactError:
                raise
            except AttnError as error:
                late = Moment(job.started or 0.0, job.started_clock).seconds_ago() > HAND_OVER_SECONDS
                return Ended("failed", f"the cluster did not accept it: {error}") if late else Running()
        result = self.server.job(name)
        if result is None:
            return Ended(
                "lost",
                f"its cluster was restarted and no longer knows it; `attn resume {job.id}` continues it",
                lost=True,
            )
        ended = result["status"] in ENDED
        self._copy_log(job, name, last=ended)
        return self._ended(job, result) if ended else Running({} if job.create_time else {"create_time": create_time})

    def _hand_over(self, job: Job, name: str) -> float:
        """Submit a job, unless a previous service submitted it and ended before writing that to its table.

        Returns:
            When it was submitted, by the cluster's clock.
        """
        self._log_start(job)
        result = self.server.job(name)
        if result is None:
            before = self.server.job(self._name(job, back=1))
            if before is not None and before["status"] not in ENDED:  # it was given up while it was unreachable
                self.server.stop(self._name(job, back=1))
                raise JobServerError("its previous attempt still runs there, and was asked to stop")
            transfer.write_bytes(self._order(job), order_json(job, self.state_dir, "auto").encode())
            line, wait = _line("services.driver", self._order(job)), str(int(self.grace))
            self.server.upload(self.code)
            self.server.submit(name, line, self.code, environment={"RAY_JOB_STOP_WAIT_TIME_S": wait})
            result = self.server.job(name) or {}
        return (result.get("start_time") or time.time() * 1000) / 1000

    def _log_start(self, job: Job) -> int:
        """Offset at which an attempt's part of the job's log begins: the log's length when the attempt was new."""
        noted, log = self.state_dir.file(job, "start"), self.state_dir.log(job.id)
        if not noted.exists():
            mark_attempt(log, job.attempt)
            noted.write_text(str(log.stat().st_size if log.exists() else 0), encoding="utf-8")
        return int(noted.read_text(encoding="utf-8"))

    def _copy_log(self, job: Job, name: str, *, last: bool) -> None:
        """Append the new part of the cluster's log to the service's own log, whose length says what is new."""
        began = time.monotonic()
        if not last and began < self.copy_at.get(name, 0.0):
            return
        log = self.state_dir.log(job.id)
        log.parent.mkdir(parents=True, exist_ok=True)
        start = self._log_start(job)
        with log.open("ab") as stream:
            copied = stream.tell() - start
            try:
                stream.write(redact(self.server.log(name))[copied:])  # redacted as a whole, which keeps its length
            except JobServerError as error:
                if last:
                    stream.write(f"\nthe end of the log could not be fetched from the cluster: {error}\n".encode())
        self.copy_at[name] = time.monotonic() + (time.monotonic() - began) / LOG_SHARE

    def _ended(self, job: Job, details: dict[str, Any]) -> DriverStatus:
        record = f"{self._order(job)}.exit"
        try:
            if transfer.exists(record):
                report = json.loads(locations.read_bytes(record))
                return ended_by_status(report["status"], report["error"], reported=True)
        except AttnError as error:
            return Unreachable(f"its exit status cannot be read: {error}")
        code, message = details.get("driver_exit_code"), str(details.get("message") or "")[:LONGEST_ERROR]
        if details["status"] == "STOPPED":
            return Ended("cancelled", "it was stopped on the cluster before it could close its run")
        if code is not None and code < 0:
            how = f"its process ended by {signal_name(-code)}; `attn resume {job.id}` continues it"
            return Ended("failed", how, lost=True)
        if code is None and details["status"] == "FAILED":  # its node was lost
            return Ended("failed", message or None, lost=True)
        return ended_by_status(1 if code is None else code, message, reported=False)


def _line(module: str, order: str) -> str:
    """A shell command for the cluster's `python`; `exec`, so that Ray's signals reach it and not a shell."""
    return f"exec {shlex.join(['python', '-m', module, order])}"
