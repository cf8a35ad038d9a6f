"""Starts jobs in their order, watches over them, and ends them; survives its own restart."""

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

from attn.errors import AttnError, RunError
from jobs.runs.boot_clock import Moment
from jobs.runs.run_folder import RunFolder
from services.local_runner import LocalRunner
from services.ray_runner import RayRunner
from services.redaction import redact
from services.runner import Ended, Runner, Running, StateDir
from services.table import ENDED, RUNNING, Job, JobTable

POLL_SECONDS = 0.3
GRACE_SECONDS = 60.0
"""How long a cancelled job may show no sign of closing its run before it is killed."""
REPORT_SECONDS = 60.0
KEPT_JOBS = 10_000
"""Ended jobs that stay in the table; what ended before them is forgotten, and its runs stay."""
FORGET_SECONDS = 60.0
CLOSING_SECONDS = 600.0
"""How long it may take in all; on a busy machine a checkpoint takes many times as long as on a quiet one."""


@dataclass
class _Closing:
    """A job that was told to end.

    Attributes:
        signs: When its log and its run's folder were changed last, as their file system has it.
        seen_at: When these changed before the eyes of this service, by its monotonic clock.
    """

    told: Moment
    signs: tuple[int | None, ...] = ()
    seen_at: float = 0.0


class StateDirLostError(AttnError):
    """The service's own folder is gone, and with it what the service knows of its jobs."""

    code = "storage"


class Supervisor:
    """Runs up to `slots` jobs at once, each by a driver that a restart of the service leaves alone.

    `home` holds what is the service's own: a lock, each job's order and exit status, and the logs of remote roots.
    """

    def __init__(
        self,
        root: str,
        state_dir: Path,
        table: JobTable,
        slots: int = 1,
        ray_jobs: str | None = None,
        data_roots: tuple[str, ...] = (),
    ) -> None:
        """Take the home for this service.

        Args:
            data_roots: Folders and prefixes that jobs may read besides the root.
            ray_jobs: URL of the job server that new jobs are handed to; without one they run on this machine.

        Raises:
            RunError: Another service has it.
        """
        self.root, self.table, self.slots, self.ray_jobs = root, table, slots, ray_jobs
        self.state_dir = StateDir(root, state_dir, data_roots)
        (state_dir / "jobs").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = (state_dir / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise RunError(f"another service is working in {state_dir}; one root has one service") from None
        self.runners: dict[str | None, Runner] = {None: LocalRunner(self.state_dir)}
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
                "the service's folder was removed or replaced while it ran: put it back, or start the service anew"
            )

    def stop(self) -> None:
        """Stop watching; jobs go on, and the next service watches over them."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        self.lock.close()

    def log(self, job_id: str) -> Path:
        """A job's log."""
        return self.state_dir.log(job_id)

    def cancel(self, job: Job, *, now: bool) -> None:
        """Ask for a job's end; what waits ends at once."""
        if self.table.change(job.id, ["queued"], state="cancelled", ended=time.time()):
            return
        how = "now" if now else "seal"
        self.table.change(job.id, RUNNING, cancel=how, cancelled_at=time.time())

    def waiting(self, job: Job) -> str | None:
        """Why a job has not started."""
        return self._why(self.table.ahead(job), self.table.ids(RUNNING)) if job.state == "queued" else None

    def page(self, limit: int, after: Job | None = None) -> list[tuple[Job, str | None]]:
        """Jobs, newest first, each with why it has not started; `after` is the last job of the page before."""
        running = self.table.ids(RUNNING)
        jobs = self.table.page(limit, after)
        return [(job, None if ahead is None else self._why(ahead, running)) for job, ahead in jobs]

    def _why(self, ahead: int, running: list[str]) -> str:
        behind = f"; {ahead} job(s) before it in the queue" if ahead else "; it is the next"
        if len(running) >= self.slots:
            return f"all {self.slots} slot(s) are taken by {', '.join(running)}{behind}"
        return f"{self.unready or 'it is about to start'}{behind}"

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self.tick()
            except Exception as error:  # the watch must not end; the next round tries again
                self._report(error)
            self.stopping.wait(POLL_SECONDS)

    def tick(self) -> None:
        """One round: look at what runs, then start what there is room for."""
        self.require_state_dir()
        for job in self.table.list(RUNNING):
            try:
                self._poll(job)
            except Exception as error:  # nor may one job keep the others from being watched
                self._report(error)
        free = self.slots - len(self.table.ids(RUNNING))
        waiting = self.table.queue(free) if free > 0 else []
        self.unready = self._runner(self.ray_jobs).unready() if waiting else None
        if self.unready is None:
            for job in waiting:
                self._start(job)
        if time.monotonic() >= self.forget_at:
            self.forget_at = time.monotonic() + FORGET_SECONDS
            self._forget()

    def _forget(self) -> None:
        """Keep the table and the home from growing without an end."""
        for job in self.table.forget(KEPT_JOBS):
            for file in self.state_dir.files(job):
                file.unlink(missing_ok=True)

    def _report(self, error: Exception) -> None:
        """Say what went wrong in a round; the same again once a minute, since the next round is soon."""
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
        assert started is not None, "one that runs is not forgotten"
        try:
            self._keep(started, self._runner(started.job_server).start(started))
        except OSError as error:  # a full disk, or no more processes: it has written and begun nothing
            why = f"it could not be started: {error.strerror or error}; `attn resume {job.id}` tries again"
            self._end(started, Ended("failed", why))

    def _keep(self, job: Job, seen: Running) -> None:
        if seen.kept:
            self.table.change(job.id, RUNNING, **seen.kept)

    def _poll(self, job: Job) -> None:
        seen = self._runner(job.job_server).poll(job)
        if isinstance(seen, Running):
            self._keep(job, seen)
            if job.state != "running":
                self.table.change(job.id, RUNNING, state="running", error=None)
            self._hold_to(job)
        elif isinstance(seen, Ended):
            self._end(job, seen)
        elif job.cancel == "now":
            self._end(job, Ended("lost", f"given up, and may still run: {seen.reason}", told=True))
        elif (job.state, job.error) != ("unreachable", seen.reason):
            self.table.change(job.id, RUNNING, state="unreachable", error=seen.reason)

    def _end(self, job: Job, seen: Ended) -> None:
        state, error = seen.state, seen.error
        if job.cancel is not None and not seen.told:
            state, error = "cancelled", "ended before it could close its run"
        if state == "cancelled" and job.cancel == "late":
            error = f"it ran longer than max_duration={job.max_duration:g} seconds"
        self._runner(job.job_server).cleanup(job)
        self.closing.pop(job.id, None)
        self._close_run(job, "failed" if state == "lost" else state, error)
        self.table.end(job, state, error)
        if not RunFolder(self.root, job.id).is_local:
            with contextlib.suppress(AttnError):
                RunFolder(self.root, job.id).write("job.log", redact(self.log(job.id).read_bytes()))

    def _hold_to(self, job: Job) -> None:
        """What a running job was told: its end, if asked for, and how long it may take."""
        if job.cancel is None:
            if job.max_duration is not None and job.started is not None:
                ran = Moment(job.started, job.started_clock).seconds_ago()
                if ran > job.max_duration:
                    self.table.change(job.id, RUNNING, cancel="late", cancelled_at=time.time())
            return
        told = self._told(job)
        if job.cancel == "now" or (told is not None and self._overdue(job, told)):
            self._runner(job.job_server).kill(job)
        elif told is None and self._runner(job.job_server).request_stop(job):
            self._note_told(job)

    def _told(self, job: Job) -> _Closing | None:
        """When a job was told to end, by this service or by the one before."""
        closing = self.closing.get(job.id)
        note = self.state_dir.file(job, "told")
        if closing is None and note.exists():
            closing = self.closing[job.id] = _Closing(_moment_in(note))
        return closing

    def _note_told(self, job: Job) -> None:
        closing = self.closing[job.id] = _Closing(Moment.now())
        self.state_dir.file(job, "told").write_text(json.dumps(asdict(closing.told)), encoding="utf-8")

    def _overdue(self, job: Job, closing: _Closing) -> bool:
        """Whether a job that was told to end shows no sign of doing so, or has taken too long.

        Any change of its log and of the entries of its run's folder is a sign.
        """
        run = RunFolder(self.root, job.id)
        places = [self.log(job.id), *([Path(run.uri), Path(run.path("checkpoints"))] if run.is_local else [])]
        signs, now = tuple(_changed_at(place) for place in places), time.monotonic()
        if signs != closing.signs:
            closing.signs, closing.seen_at = signs, now
        return now - closing.seen_at > GRACE_SECONDS or closing.told.seconds_ago() > CLOSING_SECONDS

    def _close_run(self, job: Job, state: str, error: str | None) -> None:
        """A run whose process died says `running` for ever, unless somebody says what is."""
        with contextlib.suppress(AttnError, ValueError):
            folder = RunFolder(self.root, job.id)
            if folder.exists() and folder.state().state == "running" and state in ENDED:
                folder.update(state=state, ended=time.time(), error=error)


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _moment_in(note: Path) -> Moment:
    """The moment that a note says; the one of its writing, where it says none, as an earlier version left it."""
    try:
        return Moment(**json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return Moment(note.stat().st_mtime)
