"""A job's process is found again by what the table says of it, and taken for no other; nothing is trained here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from attn.process_identity import process_identity
from services.local_runner import MARK, LocalRunner
from services.runner import Ended, Running, StateDir
from services.table import Job

JOB = {"id": "j", "kind": "train", "target": "t", "request": "r", "state": "running", "attempt": 1}


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner that has started nothing, as after a restart of the service."""
    return LocalRunner(StateDir(str(tmp_path / "runs"), tmp_path))


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks as the driver of job `j` does: its mark, and its order at the end of the command line."""
    order = str(tmp_path / "jobs" / "j.1.json")
    process = subprocess.Popen(
        ["sh", "-c", "echo; sleep 1000; true", order],
        env={**os.environ, MARK: f"{tmp_path}:j"}, start_new_session=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()  # what has only just begun has no command line yet
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("step", [-86400.0, -1.0, 1.0, 86400.0])
def test_a_step_of_the_clock_loses_no_job(
    runner: LocalRunner, driver: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    job = Job(**JOB, pid=driver.pid, process=process_identity(driver.pid))
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + step)
    assert runner.poll(job) == Running()


def test_a_job_that_the_table_does_not_know_the_process_of_is_looked_for(
    runner: LocalRunner, driver: subprocess.Popen[bytes]
) -> None:
    of_an_earlier_version = Job(**JOB, pid=driver.pid, create_time=5.0)
    for job in (of_an_earlier_version, Job(**JOB)):
        assert runner.poll(job) == Running({"pid": driver.pid, "process": process_identity(driver.pid)})
    for change in ({"id": "k"}, {"attempt": 2}):
        assert isinstance(runner.poll(Job(**{**JOB, **change}, pid=driver.pid, create_time=5.0)), Ended)


def test_nobody_else_is_told_to_end(runner: LocalRunner, driver: subprocess.Popen[bytes]) -> None:
    for other in ("00000000-0000-0000-0000-000000000000:5", f"{process_identity(driver.pid)}0"):
        job = Job(**JOB, pid=driver.pid, process=other)
        assert isinstance(runner.poll(job), Ended)
        assert not runner.request_stop(job)
    assert driver.poll() is None
    assert runner.request_stop(Job(**JOB, pid=driver.pid, process=process_identity(driver.pid)))
    assert driver.wait(timeout=30) == -signal.SIGTERM


def test_a_package_in_the_working_directory_is_not_taken_for_ours(
    runner: LocalRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project" / "services"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(folder.parent)
    job = Job(**JOB)
    runner.start(job)
    assert runner.children["j"].wait(timeout=300) == 2
    ended = runner.poll(job)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reported, "recipe" in str(ended.error)) == ("failed", True, True)  # none is called t
