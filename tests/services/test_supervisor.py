"""How long a job may take, and take to close its run, by clocks that nobody can set: nothing runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from attn import boot_clock
from jobs.runs.run_folder import RunFolder
from services import supervisor as module
from services.runner import Ended, Running
from services.supervisor import Supervisor
from services.table import Job, JobTable
from tests.clocks import Clocks

DAY = 86400.0


class Deaf:
    """Runs nothing, and notes that it was asked to kill."""

    def __init__(self) -> None:
        self.killed, self.told = False, 0

    def unready(self) -> str | None:
        return None

    def start(self, job: Job) -> Running:
        return Running()

    def poll(self, job: Job) -> Running | Ended:
        return Running()

    def request_stop(self, job: Job) -> bool:
        self.told += 1
        return True

    def kill(self, job: Job) -> None:
        self.killed = True

    def cleanup(self, job: Job) -> None: ...


class Service:
    """A supervisor that can be started anew over its table, as after a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runner = folder, Deaf()
        self.table = JobTable(f"sqlite:///{folder}/jobs.db")
        self.supervisor = self._new()

    def _new(self) -> Supervisor:
        one = Supervisor(str(self.folder / "runs"), self.folder / "home", self.table)
        one.runners[None] = self.runner
        return one

    def restart(self) -> None:
        self.supervisor.stop()
        self.supervisor = self._new()

    def job(self) -> Job:
        job = self.table.get("j")
        assert job is not None
        return job

    def tick(self) -> None:
        self.supervisor.tick()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch, [boot_clock, module])


@pytest.fixture
def service(tmp_path: Path, clocks: Clocks) -> Iterator[Service]:
    """One job, `j`, has just started; it may take 100 seconds."""
    one = Service(tmp_path)
    one.table.add(Job(id="j", kind="train", target="t", request="r", max_duration=100.0))
    one.tick()
    assert one.job().state == "running"
    yield one
    one.supervisor.stop()
    one.table.close()


@pytest.mark.parametrize(
    ("told", "sign", "killed"),
    [(50, None, False), (70, None, True), (500, 50, False), (500, 70, True), (610, 5, True)],
)
@pytest.mark.parametrize("place", ["job.log", ".", "checkpoints"])
def test_a_job_is_killed_after_a_minute_without_a_sign_and_after_ten_in_all(
    service: Service, clocks: Clocks, place: str, told: float, sign: float | None, killed: bool
) -> None:
    run = Path(service.supervisor.root, "j")
    (run / "checkpoints").mkdir(parents=True)
    (run / "job.log").touch()
    service.supervisor.cancel(service.job(), now=False)
    service.tick()
    begun = clocks.up
    while (left := told - (clocks.up - begun)) > 0:
        clocks.go_by(min(5, left))
        if sign is not None and clocks.up - begun <= told - sign:
            os.utime(run / place, (clocks.up, clocks.up))
        service.tick()
    assert (service.runner.killed, service.runner.told) == (killed, 1)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("step", [-DAY, -1.0, 1.0, DAY])
def test_a_step_of_the_clock_neither_shortens_nor_prolongs_a_job(
    service: Service, clocks: Clocks, step: float, restarted: bool
) -> None:
    clocks.go_by(90)
    clocks.step(step)
    if restarted:
        service.restart()
    service.tick()
    assert service.job().cancel is None
    clocks.go_by(11)
    service.tick()
    assert service.job().cancel == "late"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("step", [-DAY, 70.0, DAY])
def test_a_step_of_the_clock_neither_shortens_nor_prolongs_a_jobs_end(
    service: Service, clocks: Clocks, step: float, restarted: bool
) -> None:
    service.supervisor.cancel(service.job(), now=False)
    service.tick()
    clocks.go_by(50)
    service.tick()
    clocks.step(step)
    if restarted:
        service.restart()
    service.tick()
    assert (service.runner.killed, service.runner.told) == (False, 1)
    for _ in range(13):
        clocks.go_by(5)
        service.tick()
    assert (service.runner.killed, service.runner.told) == (True, 1)


def test_entries_of_an_earlier_version_go_by_the_wall_clock(service: Service, clocks: Clocks) -> None:
    service.table.change("j", ["running"], started_clock=None)
    clocks.go_by(101)
    service.restart()
    service.tick()
    assert service.job().cancel == "late"
    note = service.supervisor.state_dir.file(service.job(), "told")
    note.touch()
    os.utime(note, (clocks.wall - 601,) * 2)
    service.tick()
    assert (service.runner.killed, service.runner.told) == (True, 0)


def test_what_fails_in_every_round_is_said_once_a_minute(
    service: Service, clocks: Clocks, capsys: pytest.CaptureFixture[str]
) -> None:
    report = service.supervisor._report  # pyright: ignore[reportPrivateUsage]
    for _ in range(300):
        report(OSError("the disk is full"))
        clocks.go_by(0.3)
    report(OSError("another"))
    assert capsys.readouterr().err.count("the disk is full") == 2


def test_jobs_wait_for_cores_of_this_machine(service: Service) -> None:
    def states() -> list[str]:
        return [job.state for name in "jabcd" if (job := table.get(name)) is not None]

    def waits_for(name: str) -> str:
        job = table.get(name)
        assert job is not None
        return str(service.supervisor.waiting(job))

    table, service.supervisor.slots, service.supervisor.cores = service.table, 3, 4
    for at, (name, cores, address) in enumerate([("a", 3, None), ("b", 1, None), ("c", None, "auto"), ("d", 9, None)]):
        table.add(Job(id=name, kind="train", target="t", request="r", submitted=at, cores=cores, address=address))
    service.tick()
    assert states() == ["running", "queued", "queued", "queued", "queued"], "a job of unknown needs takes all cores"
    assert waits_for("a") == "it waits for room: it needs 3 of the 4 cores of this machine, and j uses 4; it is next"
    table.change("j", ["running"], state="done")
    service.tick()
    assert states() == ["done", "running", "running", "running", "queued"], "a job on a cluster needs no core here"
    assert waits_for("d").startswith("all 3 slot(s) are in use")
    table.change("a", ["running"], state="done")
    service.tick()
    assert "needs 4 of the 4 cores" in waits_for("d"), "it never needs more than there are"
    table.change("b", ["running"], state="done")
    service.tick()
    assert states() == ["done", "done", "done", "running", "running"]


class Losing(Deaf):
    """Its drivers end as it is told."""

    def __init__(self, ended: Ended) -> None:
        super().__init__()
        self.ended = ended

    def poll(self, job: Job) -> Running | Ended:
        return self.ended


LOST = Ended("lost", "its process is gone without a report; `attn resume j` continues it", lost=True)


@pytest.mark.parametrize(
    ("ended", "cause", "started"),
    [
        (LOST, None, 3),
        (Ended("failed", "its process ended by SIGKILL; ...", lost=True), None, 3),
        (Ended("failed", "Ray ended before the run did", reported=True), "lost", 3),
        (Ended("failed", "a bug", reported=True), None, 1),
        (Ended("done", None, reported=True), None, 1),
    ],
)
def test_a_job_whose_driver_was_lost_is_started_again_as_often_as_said(
    service: Service, ended: Ended, cause: str | None, started: int
) -> None:
    folder = RunFolder(service.supervisor.root, "j")
    service.supervisor.restarts, service.supervisor.runners[None] = 2, Losing(ended)
    for _ in range(started):
        assert service.job().state == "running"
        if ended.reported:
            folder.begin(kind="train", state=ended.state, cause=cause)
        else:
            before = folder.state().attempt_ends if folder.exists() else None
            folder.begin(kind="train", state="running", attempt_ends=before)
        service.tick()
    job = service.job()
    assert (job.state, job.attempt, job.restarts or 0) == (ended.state, started, started - 1)
    if not ended.reported:
        state = folder.state()
        assert (state.state, state.cause) == ("failed", "lost")
        ends = state.attempt_ends or []
        assert [(end["attempt"], end["cause"]) for end in ends] == [(1, "lost"), (2, "lost"), (3, "lost")]
        assert "attn resume" not in ends[0]["error"]


def test_a_job_that_is_being_cancelled_is_not_started_again(service: Service) -> None:
    service.supervisor.restarts, service.supervisor.runners[None] = 2, Losing(LOST)
    service.supervisor.cancel(service.job(), now=False)
    service.tick()
    assert service.job().state == "cancelled"
