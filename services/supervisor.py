"""Starts jobs in their order, watches over their processes, and ends them; survives its own restart."""

from __future__ import annotations

__all__ = ["Supervisor"]

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from attn.errors import AttnError, RunError
from jobs.run_folder import RunFolder
from services.secrecy import masked
from services.submission import Submission
from services.table import ENDED, Job, JobTable

POLL_SECONDS = 0.3
GRACE_SECONDS = 60.0
"""How long a cancelled job may take to close its run before it is killed."""
MARK = "ATTN_SERVICE_JOB"
"""Variable in the environment of a job's processes, by which those that outlive it are found."""


class Supervisor:
    """Runs up to `slots` jobs at once, each in a process of its own that a restart of the service leaves alone.

    `home` holds what is the service's own: a lock, each job's order and exit status, and the logs of remote roots.
    """

    def __init__(self, root: str, home: Path, table: JobTable, slots: int = 1) -> None:
        """Take the home for this service.

        Raises:
            RunError: Another service has it.
        """
        self.root, self.home, self.table, self.slots = root, home, table, slots
        (home / "jobs").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = (home / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise RunError(f"another service is working in {home}; one root has one service") from None
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._loop, name="attn-supervisor", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Stop watching; jobs go on, and the next service watches over them."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        self.lock.close()

    def log(self, job_id: str) -> Path:
        """A job's log: in the run's folder, or in the home where that is in an object store."""
        folder = RunFolder(self.root, job_id)
        return Path(folder.path("job.log")) if folder.is_local else self.home / "jobs" / f"{job_id}.log"

    def cancel(self, job: Job, *, now: bool) -> None:
        """Ask for a job's end; what waits ends at once."""
        if self.table.change(job.id, ["queued"], state="cancelled", ended=time.time()):
            return
        how = "now" if now else "seal"
        self.table.change(job.id, ["running"], cancel=how, cancelled_at=time.time())

    def waiting(self, job: Job) -> str | None:
        """Why a job has not started."""
        if job.state != "queued":
            return None
        ahead = [other.id for other in self.table.queue()]
        place = ahead.index(job.id) if job.id in ahead else 0
        running = [other.id for other in self.table.list(["running"])]
        behind = f"; {place} job(s) before it in the queue" if place else "; it is the next"
        if len(running) >= self.slots:
            return f"all {self.slots} slot(s) are taken by {', '.join(running)}{behind}"
        return f"it is about to start{behind}"

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self.tick()
            except Exception as error:  # the watch must not end; the next round tries again
                print(f"supervisor: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self.stopping.wait(POLL_SECONDS)

    def tick(self) -> None:
        """One round: look at what runs, then start what there is room for."""
        running = self.table.list(["running"])
        for job in running:
            self._look(job)
        free = self.slots - len(self.table.list(["running"]))
        for job in self.table.queue()[: max(free, 0)]:
            self._start(job)

    def _order(self, job: Job) -> Path:
        return self.home / "jobs" / f"{job.id}.{job.attempt}.json"

    def _start(self, job: Job) -> None:
        if not self.table.change(
            job.id, ["queued"], state="running", started=time.time(), attempt=job.attempt + 1, pid=None, born=None
        ):
            return
        started = self.table.get(job.id)
        assert started is not None, "jobs are never removed"
        order, log = self._order(started), self.log(job.id)
        submission = Submission(
            id=job.id, kind=job.kind, target=job.target, config=job.config,  # pyright: ignore[reportArgumentType]
            overrides=job.overrides or [], address=job.address,
        )  # fmt: skip
        order.write_text(json.dumps({"submission": submission.model_dump(), "root": self.root}), encoding="utf-8")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            child = subprocess.Popen(
                [sys.executable, "-m", "services.driver", str(order)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the service is not meant for its jobs
                env={**os.environ, MARK: self._mark(job), "PYTHONUNBUFFERED": "1"},
            )
        self.children[job.id] = child
        with contextlib.suppress(psutil.Error):
            self.table.change(job.id, ["running"], pid=child.pid, born=psutil.Process(child.pid).create_time())

    def _mark(self, job: Job) -> str:
        return f"{self.home}:{job.id}"

    def _look(self, job: Job) -> None:
        child = self.children.get(job.id)
        code = child.poll() if child is not None else None
        alive = code is None and self._alive(job)
        if alive:
            self._hold_to(job)
            return
        order = self._order(job)
        exit_file = Path(f"{order}.exit")
        if exit_file.exists():
            told: dict[str, Any] = json.loads(exit_file.read_text(encoding="utf-8"))
            state = {0: "done", 3: "cancelled"}.get(told["status"], "failed")
            error = told["error"] or None
        elif job.cancel is not None:
            state, error = "cancelled", "ended before it could close its run"
        elif code is not None:
            state, error = "failed", f"its process ended by {_how(code)}; `attn resume {job.id}` goes on"
        else:
            state, error = "lost", f"its process is gone and left no word; `attn resume {job.id}` goes on"
        if state == "cancelled" and job.cancel == "late":
            error = f"it ran longer than max_duration={job.max_duration:g} seconds"
        self._sweep(job)
        self._close_run(job, "failed" if state == "lost" else state, error)
        self.children.pop(job.id, None)
        self.table.end(job, state, error)
        if not RunFolder(self.root, job.id).is_local:
            with contextlib.suppress(AttnError):
                RunFolder(self.root, job.id).write("job.log", masked(self.log(job.id).read_bytes()))

    def _alive(self, job: Job) -> bool:
        if job.pid is None:  # the service ended between the job's entry and its process
            return any(True for _ in self._processes(job))
        try:
            process = psutil.Process(job.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - (job.born or 0)) < 1
        except psutil.Error:
            return False

    def _hold_to(self, job: Job) -> None:
        """What a running job was told: its end, if asked for, and how long it may take."""
        now = time.time()
        if job.cancel is None:
            if job.max_duration is not None and job.started is not None and now - job.started > job.max_duration:
                self.table.change(job.id, ["running"], cancel="late", cancelled_at=now)
            return
        if job.cancel == "now" or now - (job.cancelled_at or now) > GRACE_SECONDS:
            self._sweep(job)
        elif (self.home / "jobs" / f"{job.id}.{job.attempt}.told").exists():
            return
        elif job.pid is not None:
            (self.home / "jobs" / f"{job.id}.{job.attempt}.told").touch()
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGTERM)

    def _processes(self, job: Job) -> list[psutil.Process]:
        """Every process of a job that is there, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == self._mark(job):
                    found.append(process)
        return found

    def _sweep(self, job: Job) -> None:
        """End what a job has left behind."""
        for _ in range(3):  # a process may start another while it is being ended
            left = self._processes(job)
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not left:
                return
            psutil.wait_procs(left, timeout=2)

    def _close_run(self, job: Job, state: str, error: str | None) -> None:
        """A run whose process died says `running` for ever, unless somebody says what is."""
        with contextlib.suppress(AttnError, ValueError):
            folder = RunFolder(self.root, job.id)
            if folder.exists() and folder.state().get("state") == "running" and state in ENDED:
                folder.update(state=state, ended=time.time(), error=error)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code} without a word"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
