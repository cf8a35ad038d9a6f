"""Drivers as Ray Jobs: they run on a cluster, and go on without the service and its machine."""

from __future__ import annotations

__all__ = ["RayRunner"]

import contextlib
import hashlib
import json
import shlex
import time
from typing import Any

from attn.errors import AttnError
from attn.files import locations, transfer
from attn.files.roots import SERVICE_FOLDER
from jobs.runs.boot_clock import Moment
from services.job_server import JobServer, JobServerError, LostContactError
from services.redaction import redact
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

LOOK_SECONDS = 1.0
LOST_SECONDS = 5.0
"""How long a job server may be silent before its jobs count as out of contact."""
HAND_OVER_SECONDS = 120.0
"""How long a job server that answers may refuse a job: a head that has just started does so for a while."""
LOG_SHARE = 0.05
"""Ray gives a log only as a whole: it is asked for so seldom that fetching it takes no larger share of the time."""
LONGEST_ERROR = 2000
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")


class RayRunner:
    """Hands each attempt of a job to a job server under a name of its own, which can be done twice without harm.

    Order and exit status lie under the root, where the cluster's nodes reach them as they reach the runs. The shell
    line that Ray runs is made of the service's own words alone.
    """

    def __init__(self, url: str, state_dir: StateDir, grace: float) -> None:
        """Name the job server; it is not called.

        Args:
            grace: Seconds that a driver has to close its run, once it was told to end.
        """
        self.server, self.state_dir, self.grace = JobServer(url), state_dir, grace
        self.seen: dict[str, tuple[float, DriverStatus]] = {}
        self.copy_at: dict[str, float] = {}
        self.killed: set[str] = set()

    def unready(self) -> str | None:
        try:
            self.server.check()
        except AttnError as error:
            return str(error)
        return None

    def start(self, job: Job) -> Running:
        return Running()  # the next look finds that it is not there yet, as after a restart of the service

    def poll(self, job: Job) -> DriverStatus:
        name = self._name(job)
        at, seen = self.seen.get(name, (0.0, None))
        if seen is None or time.monotonic() - at > LOOK_SECONDS:
            try:
                seen = self._poll(job, name)
            except LostContactError as error:
                long = job.state == "unreachable" or self.server.lost_for > LOST_SECONDS
                seen = Unreachable(str(error)) if long else Running()
            self.seen[name] = time.monotonic(), seen
        return seen

    def request_stop(self, job: Job) -> bool:
        try:
            self.server.stop(self._name(job))
        except AttnError:
            return False
        return True

    def kill(self, job: Job) -> None:
        """Stop a driver without waiting: Ray cannot, so that a second job on the driver's node does it."""
        name = self._name(job)
        with contextlib.suppress(AttnError):  # the next round tries again
            if name in self.killed:
                return
            self.server.stop(name)
            node = (self.server.job(name) or {}).get("driver_node_id")
            if node and self.server.job(f"{name}-kill") is None:
                self.server.submit(
                    f"{name}-kill", _line("services.kill_driver", self._order(job)), node=node, environment={}
                )
            self.killed.add(name)

    def cleanup(self, job: Job) -> None:
        name = self._name(job)
        self.seen.pop(name, None)
        self.copy_at.pop(name, None)

    def _name(self, job: Job, *, back: int = 0) -> str:
        """An attempt's name at the job server, which another root or an earlier table cannot have given.

        Args:
            back: How many attempts before the present one.
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
                return Ended("failed", f"the cluster did not take it: {error}") if late else Running()
        told = self.server.job(name)
        if told is None:
            return Ended(
                "lost", f"its cluster was started anew and knows nothing of it; `attn resume {job.id}` goes on"
            )
        ended = told["status"] in ENDED
        self._copy_log(job, name, last=ended)
        return self._ended(job, told) if ended else Running({} if job.create_time else {"create_time": create_time})

    def _hand_over(self, job: Job, name: str) -> float:
        """Submit a job, unless that was done by a service that ended before it could note it.

        Returns:
            When it was submitted, by the cluster's clock.
        """
        self._log_start(job)
        told = self.server.job(name)
        if told is None:
            before = self.server.job(self._name(job, back=1))
            if before is not None and before["status"] not in ENDED:  # it was given up, out of contact
                self.server.stop(self._name(job, back=1))
                raise JobServerError("its last attempt still runs there, and was told to end")
            transfer.write_bytes(self._order(job), order_json(job, self.state_dir, "auto").encode())
            line, wait = _line("services.driver", self._order(job)), str(int(self.grace))
            self.server.submit(name, line, environment={"RAY_JOB_STOP_WAIT_TIME_S": wait})
            told = self.server.job(name) or {}
        return (told.get("start_time") or time.time() * 1000) / 1000

    def _log_start(self, job: Job) -> int:
        """Where an attempt's part of the job's log begins: how long the log was at first sight."""
        noted, log = self.state_dir.file(job, "start"), self.state_dir.log(job.id)
        if not noted.exists():
            noted.write_text(str(log.stat().st_size if log.exists() else 0), encoding="utf-8")
        return int(noted.read_text(encoding="utf-8"))

    def _copy_log(self, job: Job, name: str, *, last: bool) -> None:
        """Append what the cluster's log has more than the service's own, which says how far the last copy came."""
        began = time.monotonic()
        if not last and began < self.copy_at.get(name, 0.0):
            return
        log = self.state_dir.log(job.id)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            copied = stream.tell() - self._log_start(job)
            try:
                stream.write(redact(self.server.log(name))[copied:])  # covered as a whole, which keeps its length
            except JobServerError as error:
                if last:
                    stream.write(f"\nthe log's end did not come from the cluster: {error}\n".encode())
        self.copy_at[name] = time.monotonic() + (time.monotonic() - began) / LOG_SHARE

    def _ended(self, job: Job, told: dict[str, Any]) -> DriverStatus:
        record = f"{self._order(job)}.exit"
        try:
            if transfer.exists(record):
                said = json.loads(locations.read_bytes(record))
                return ended_by_status(said["status"], said["error"], told=True)
        except AttnError as error:
            return Unreachable(f"its end cannot be read: {error}")
        code, message = told.get("driver_exit_code"), str(told.get("message") or "")[:LONGEST_ERROR]
        if told["status"] == "STOPPED":
            return Ended("cancelled", "it was stopped at the cluster before it could close its run")
        if code is not None and code < 0:
            return Ended("failed", f"its process ended by {signal_name(-code)}; `attn resume {job.id}` goes on")
        return ended_by_status(1 if code is None else code, message, told=False)


def _line(module: str, order: str) -> str:
    """A shell line for the `python` of the cluster; `exec`, so that no shell stands between Ray and its process."""
    return f"exec {shlex.join(['python', '-m', module, order])}"
