"""Runs drivers as processes of this machine, which survive a restart of the service."""

from __future__ import annotations

__all__ = ["LocalRunner"]

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from attn.own_code import shadowing
from attn.process_identity import is_running, process_identity
from services.log import mark_attempt
from services.runner import DriverStatus, Ended, Running, StateDir, ended_by_status, order_json, signal_name
from services.table import Job

MARK = "ATTN_SERVICE_JOB"
"""Environment variable of a job's processes, by which processes left behind are found."""


class LocalRunner:
    """Starts each driver in a session of its own; the driver writes its exit status to a file beside its order."""

    def __init__(self, state_dir: StateDir) -> None:
        self.state_dir = state_dir
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def unready(self) -> str | None:
        return None

    def start(self, job: Job) -> Running:
        order, log = self.state_dir.file(job, "json"), self.state_dir.log(job.id)
        order.write_text(order_json(job, self.state_dir, job.address), encoding="utf-8")
        log.parent.mkdir(parents=True, exist_ok=True)
        mark_attempt(log, job.attempt)
        isolated = ["-P"] if shadowing([""]) else []  # Python would import from the working directory first
        with log.open("ab") as stream:
            child = subprocess.Popen(
                [sys.executable, *isolated, "-m", "services.driver", str(order)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the service must not reach its jobs
                env={**os.environ, MARK: self._mark(job), "PYTHONUNBUFFERED": "1"},
            )
        self.children[job.id] = child
        return Running({"pid": child.pid, "process": process_identity(child.pid)})

    def poll(self, job: Job) -> DriverStatus:
        child = self.children.get(job.id)
        code = child.poll() if child is not None else None
        pid = self._running_pid(job) if child is None else child.pid
        if code is None and pid is not None:
            return Running({} if job.process else {"pid": pid, "process": process_identity(pid)})
        exit_file = Path(f"{self.state_dir.file(job, 'json')}.exit")
        if exit_file.exists():
            result = json.loads(exit_file.read_text(encoding="utf-8"))
            return ended_by_status(result["status"], result["error"], reported=True)
        if code is not None:
            how = signal_name(-code) if code < 0 else f"exit status {code} and reported no error"
            return Ended("failed", f"its process ended by {how}; `attn resume {job.id}` continues it", lost=code < 0)
        return Ended("lost", f"its process is gone without a report; `attn resume {job.id}` continues it", lost=True)

    def request_stop(self, job: Job) -> bool:
        if (pid := self._running_pid(job)) is None:
            return False  # it has ended: the next poll finds how
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return True

    def kill(self, job: Job) -> None:
        for _ in range(3):  # a process may start another while it is being killed
            left = self._processes(job)
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not left:
                return
            psutil.wait_procs(left, timeout=2)

    def cleanup(self, job: Job) -> None:
        self.kill(job)
        self.children.pop(job.id, None)

    def _mark(self, job: Job) -> str:
        return f"{self.state_dir.path}:{job.id}"

    def _running_pid(self, job: Job) -> int | None:
        """Process id of a job's driver; None if it has ended.

        The table may lack the process: the service ended while starting it, or an earlier version started it. The
        process is then found by its environment and its order file.
        """
        if job.process is not None:
            return job.pid if is_running(job.pid, job.process) else None
        order = str(self.state_dir.file(job, "json"))
        for process in self._processes(job):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[-1:] == [order]:
                    return process.pid
        return None

    def _processes(self, job: Job) -> list[psutil.Process]:
        """Every running process of a job, whatever its parent is by now."""
        results = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == self._mark(job):
                    results.append(process)
        return results
