"""How long a job may take to close its run, by what it shows of it: nothing runs here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runner import Ended, Running
from services.supervisor import Supervisor
from services.table import Job, JobTable


class Deaf:
    """Runs nothing, and notes that it was asked to kill."""

    def __init__(self) -> None:
        self.killed = False

    def unready(self) -> str | None:
        return None

    def start(self, job: Job) -> Running:
        return Running()

    def look(self, job: Job) -> Running | Ended:
        return Running()

    def tell(self, job: Job) -> bool:
        return True

    def kill(self, job: Job) -> None:
        self.killed = True

    def tidy(self, job: Job) -> None: ...


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor of one job, `j`, that was just told to end."""
    table = JobTable(f"sqlite:///{tmp_path}/jobs.db")
    one = Supervisor(str(tmp_path / "runs"), tmp_path / "home", table)
    one.runners[None] = Deaf()
    table.add(Job(id="j", kind="train", target="t", request="r"))
    one.tick()
    job = table.get("j")
    assert job is not None
    one.cancel(job, now=False)
    one.tick()
    yield one
    one.stop()
    table.close()


@pytest.mark.parametrize(
    ("told", "sign", "killed"),
    [(50, None, False), (70, None, True), (500, 50, False), (500, 70, True), (610, 5, True)],
)
@pytest.mark.parametrize("place", ["job.log", ".", "checkpoints"])
def test_a_job_is_killed_after_a_minute_without_a_sign_and_after_ten_in_all(
    supervisor: Supervisor, place: str, told: float, sign: float | None, killed: bool
) -> None:
    def age(path: Path, seconds: float) -> None:
        os.utime(path, (time.time() - seconds,) * 2)

    run = Path(supervisor.root, "j")
    (run / "checkpoints").mkdir(parents=True)
    (run / "job.log").touch()
    for name in ("checkpoints", "job.log", "."):
        age(run / name, 1000)
    if sign is not None:
        age(run / place, sign)
    job = supervisor.table.get("j")
    assert job is not None
    age(supervisor.home.file(job, "told"), told)
    supervisor.tick()
    runner = supervisor.runners[None]
    assert isinstance(runner, Deaf)
    assert runner.killed == killed
