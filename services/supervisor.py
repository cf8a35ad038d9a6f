"""Starts queued jobs, watches them, and ends them; a restarted service continues where the last one ended."""

from __future__ import annotations

__all__ = ["StateDirLostError", "Supervisor"]

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from attn.boot_clock import Moment
from attn.errors import AttnError, RunError, WorkersLostError
from attn.wording import counted
from jobs.runs.attempt_ends import note_end
from jobs.runs.run_folder import RunFolder
from services.local_runner import LocalRunner
from services.output_redaction import redact
from services.ray_runner import RayRunner
from services.runner import Ended, Runner, Running, StateDir
from services.table import ENDED, RUNNING, Job, JobTable, QueueFullError

POLL_SECONDS = 0.3
GRACE_SECONDS = 60.0
"""A cancelled job is killed when its log and its run's folder have not changed for this long."""
REPORT_SECONDS = 60.0
KEPT_JOBS = 10_000
"""Ended jobs that stay in the table; jobs that ended earlier are removed from it, but their runs stay."""
FORGET_SECONDS = 60.0
CLOSING_SECONDS = 600.0
"""A cancelled job is killed after this time in any case. A checkpoint takes long on a busy machine."""


@dataclass
class _Closing:
    """A job that was asked to stop.

    Attributes:
        asked: When it was asked.
        modified: Modification times of its log and of its run's folders at the last check.
        active_at: When a check last found them changed, by the monotonic clock.
    """

    asked: Moment
    modified: tuple[int | None, ...] = ()
    active_at: float = 0.0


class StateDirLostError(AttnError):
    """The state folder was removed or replaced, and with it the job table."""

    code = "storage"


class Supervisor:
    """Runs up to `slots` jobs at once, each in a driver process that survives a restart of the service."""

    def __init__(
        self,
        root: str,
        state_dir: Path,
        table: JobTable,
        slots: int = 1,
        ray_jobs: str | None = None,
        data_roots: tuple[str, ...] = (),
        restarts: int = 0,
    ) -> None:
        """Lock the state folder for this service.

        Args:
            state_dir: Folder for the lock, each job's order and exit status, and the logs of jobs of a remote root.
            slots: Jobs that may run at once; on this machine as many of them as its cores hold.
            ray_jobs: URL of the Ray job server that runs new jobs; None: they run on this machine.
            data_roots: Folders and prefixes that jobs may read besides the root.
            restarts: How often a job whose driver was lost is started again.

        Raises:
            RunError: Another service has locked the folder, or the code of jobs is too large to be sent to a cluster.
        """
        self.root, self.table, self.slots, self.ray_jobs, self.restarts = root, table, slots, ray_jobs, restarts
        self.state_dir = StateDir(root, state_dir, data_roots)
        (state_dir / "jobs").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = (state_dir / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise RunError(f"another service is running in {state_dir}; a root can have only one service") from None
        self.runners: dict[str | None, Runner] = {None: LocalRunner(self.state_dir)}
        self._runner(ray_jobs)
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.unready: str | None = None
        self.closing: dict[str, _Closing] = {}
        self.reported = ("", 0.0)
        self.forget_at = 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._loop, name="attn-supervisor", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def require_state_dir(self) -> None:
        """Raise StateDirLostError if the state folder was removed or replaced since this service locked it."""
        try:
            here, own = (self.state_dir.path / "lock").stat(), os.fstat(self.lock.fileno())
        except OSError:
            here, own = None, None
        if here is None or own is None or not os.path.samestat(here, own):
            raise StateDirLostError(
                "the service's folder was removed or replaced while it ran: restore it, or restart the service"
            )

    def stop(self) -> None:
        """Stop watching. Jobs continue, and the next service watches them."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        self.lock.close()

    def log(self, job_id: str) -> Path:
        """A job's log."""
        return self.state_dir.log(job_id)

    def cancel(self, job: Job, *, now: bool) -> None:
        """Request a job's end; a queued job ends at once."""
        if self.table.change(job.id, ["queued"], state="cancelled", ended=time.time()):
            return
        how = "now" if now else "seal"
        self.table.change(job.id, RUNNING, cancel=how, cancelled_at=time.time())

    def waiting(self, job: Job) -> str | None:
        """Why a job has not started."""
        return self._why(self.table.ahead(job), self.table.ids(RUNNING)) if job.state == "queued" else None

    def page(self, limit: int, after: Job | None = None) -> list[tuple[Job, str | None]]:
        """Jobs, newest first, each with why it has not started; `after` is the last job of the previous page."""
        running = self.table.ids(RUNNING)
        jobs = self.table.page(limit, after)
        return [(job, None if ahead is None else self._why(ahead, running)) for job, ahead in jobs]

    def _why(self, ahead: int, running: list[str]) -> str:
        behind = f"; {ahead} job(s) before it in the queue" if ahead else "; it is next"
        if len(running) >= self.slots:
            return f"all {self.slots} slot(s) are in use by {', '.join(running)}{behind}"
        return f"{self.unready or 'it is about to start'}{behind}"

    def _lacking(self, job: Job) -> str | None:
        """What this machine lacks for a job beside those that run here; None if there is room, or it runs elsewhere."""
        if not self._is_here(job):
            return None
        used = {other.id: self._cores(other) for other in self.table.list(RUNNING) if self._is_here(other)}
        if not used or sum(used.values()) + self._cores(job) <= self.cores:
            return None
        return (
            f"it waits for room: it needs {self._cores(job)} of the {counted(self.cores, 'core')} of this machine, and "
            f"{', '.join(used)} {'uses' if len(used) == 1 else 'use'} {sum(used.values())}"
        )

    def _is_here(self, job: Job) -> bool:
        """Whether a job's work is done on this machine, and not on a cluster."""
        server = job.job_server if job.state in RUNNING else self.ray_jobs
        return server is None and job.address is None

    def _cores(self, job: Job) -> int:
        return min(job.cores or self.cores, self.cores)

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self.tick()
            except Exception as error:  # the loop must not end; the next round tries again
                self._report(error)
            self.stopping.wait(POLL_SECONDS)

    def tick(self) -> None:
        """One round: poll the running jobs, then start queued ones in free slots."""
        self.require_state_dir()
        for job in self.table.list(RUNNING):
            try:
                self._poll(job)
            except Exception as error:  # one job must not stop the watching of others
                self._report(error)
        free = self.slots - len(self.table.ids(RUNNING))
        waiting = self.table.queue(free) if free > 0 else []
        self.unready = self._runner(self.ray_jobs).unready() if waiting else None
        if self.unready is None:
            for job in waiting:
                if (text := self._lacking(job)) is not None:
                    self.unready = text
                    break  # those behind it wait too: else many small jobs would keep a large one from starting
                self._start(job)
        if time.monotonic() >= self.forget_at:
            self.forget_at = time.monotonic() + FORGET_SECONDS
            self._forget()

    def _forget(self) -> None:
        """Remove old jobs from the table and their files from the state folder."""
        for job in self.table.forget(KEPT_JOBS):
            for file in self.state_dir.files(job):
                file.unlink(missing_ok=True)

    def _report(self, error: Exception) -> None:
        """Print an error of a round; the same error again only after REPORT_SECONDS."""
        text, now = f"supervisor: {type(error).__name__}: {error}", time.monotonic()
        if text != self.reported[0] or now - self.reported[1] > REPORT_SECONDS:
            self.reported = text, now
            print(text, file=sys.stderr, flush=True)

    def _runner(self, job_server: str | None) -> Runner:
        """The runner of a job server, which may be one that new jobs no longer go to; None: this machine."""
        if job_server not in self.runners:
            assert job_server is not None, "the local runner exists from the beginning"
            self.runners[job_server] = RayRunner(job_server, self.state_dir, CLOSING_SECONDS)
        return self.runners[job_server]

    def _start(self, job: Job) -> None:
        now = Moment.now()
        values = {
            "started": now.time, "started_clock": now.clock, "attempt": job.attempt + 1, "job_server": self.ray_jobs,
            "pid": None, "process": None, "create_time": None,
        }  # fmt: skip
        if not self.table.change(job.id, ["queued"], state="running", **values):
            return
        started = self.table.get(job.id)
        assert started is not None, "a running job is not removed from the table"
        try:
            self._store(started, self._runner(started.job_server).start(started))
        except OSError as error:  # a full disk, or no more processes: nothing was started
            why = f"it could not be started: {error.strerror or error}; `attn resume {job.id}` tries again"
            self._end(started, Ended("failed", why))

    def _store(self, job: Job, status: Running) -> None:
        if status.columns:
            self.table.change(job.id, RUNNING, **status.columns)

    def _poll(self, job: Job) -> None:
        status = self._runner(job.job_server).poll(job)
        if isinstance(status, Running):
            self._store(job, status)
            if job.state != "running":
                self.table.change(job.id, RUNNING, state="running", error=None)
            self._stop_if_due(job)
        elif isinstance(status, Ended):
            self._end(job, status)
        elif job.cancel == "now":
            self._end(job, Ended("lost", f"given up, and may still run: {status.reason}", reported=True))
        elif (job.state, job.error) != ("unreachable", status.reason):
            self.table.change(job.id, RUNNING, state="unreachable", error=status.reason)

    def _end(self, job: Job, status: Ended) -> None:
        state, error = status.state, status.error
        if job.cancel is not None and not status.reported:
            state, error = "cancelled", "ended before it could close its run"
        if state == "cancelled" and job.cancel == "late":
            error = f"it ran longer than max_duration={job.max_duration:g} seconds"
        self._runner(job.job_server).cleanup(job)
        self.closing.pop(job.id, None)
        lost = job.cancel is None and (status.lost or self._failed_by_no_fault_of_its_own(job, status))
        self._close_run(job, "failed" if state == "lost" else state, error, lost=lost)
        if lost and self._start_again(job):
            return
        self.table.end(job, state, error)
        if not RunFolder(self.root, job.id).is_local:
            with contextlib.suppress(AttnError):
                RunFolder(self.root, job.id).write("job.log", redact(self.log(job.id).read_bytes()))

    def _failed_by_no_fault_of_its_own(self, job: Job, status: Ended) -> bool:
        """Whether a driver has closed its run as one that may succeed if it goes on, as after the loss of a cluster."""
        with contextlib.suppress(AttnError):
            return status.reported and status.state == "failed" and RunFolder(self.root, job.id).state().cause == "lost"
        return False

    def _start_again(self, job: Job) -> bool:
        """Queue a job whose driver was lost; False if it was started again often enough, or the queue is full."""
        restarts = job.restarts or 0
        if restarts >= self.restarts:
            return False
        try:
            return self.table.change(job.id, RUNNING, state="queued", error=None, restarts=restarts + 1)
        except QueueFullError:
            return False

    def _stop_if_due(self, job: Job) -> None:
        """Stop a running job that was cancelled or that exceeds its `max_duration`."""
        if job.cancel is None:
            if job.max_duration is not None and job.started is not None:
                ran = Moment(job.started, job.started_clock).seconds_ago()
                if ran > job.max_duration:
                    self.table.change(job.id, RUNNING, cancel="late", cancelled_at=time.time())
            return
        closing = self._stop_request(job)
        if job.cancel == "now" or (closing is not None and self._overdue(job, closing)):
            self._runner(job.job_server).kill(job)
        elif closing is None and self._runner(job.job_server).request_stop(job):
            self._record_stop_request(job)

    def _stop_request(self, job: Job) -> _Closing | None:
        """The request to stop that a job got from this service or a previous one; None if it got none."""
        closing = self.closing.get(job.id)
        note = self.state_dir.file(job, "told")
        if closing is None and note.exists():
            closing = self.closing[job.id] = _Closing(_moment_in(note))
        return closing

    def _record_stop_request(self, job: Job) -> None:
        closing = self.closing[job.id] = _Closing(Moment.now())
        self.state_dir.file(job, "told").write_text(json.dumps(asdict(closing.asked)), encoding="utf-8")

    def _overdue(self, job: Job, closing: _Closing) -> bool:
        """Return whether a job that was asked to stop has shown no activity for GRACE_SECONDS, or takes too long.

        Activity is any change of its log, of its run's folder or of the checkpoints' folder.
        """
        run = RunFolder(self.root, job.id)
        paths = [self.log(job.id), *([Path(run.uri), Path(run.path("checkpoints"))] if run.is_local else [])]
        modified, now = tuple(_modified(path) for path in paths), time.monotonic()
        if modified != closing.modified:
            closing.modified, closing.active_at = modified, now
        return now - closing.active_at > GRACE_SECONDS or closing.asked.seconds_ago() > CLOSING_SECONDS

    def _close_run(self, job: Job, state: str, error: str | None, *, lost: bool) -> None:
        """Record the end of a run whose process died before it could; its state would stay `running`."""
        cause = WorkersLostError.code if lost else None
        with contextlib.suppress(AttnError, ValueError):
            folder = RunFolder(self.root, job.id)
            if folder.exists() and folder.state().state == "running" and state in ENDED:
                if lost:
                    note_end(folder, str(error).partition("; `attn resume")[0], cause)
                folder.update(state=state, ended=time.time(), error=error, cause=cause)


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _moment_in(note: Path) -> Moment:
    """The moment in a note; for an empty note of an earlier version, the time when it was written."""
    try:
        return Moment(**json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return Moment(note.stat().st_mtime)
