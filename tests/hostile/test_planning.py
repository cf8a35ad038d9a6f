"""Processes that look at submissions and die, stop or say anything: one error in bounded time; the next is served."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from services import planning
from services.api import create_app
from services.planning import Limits, Planner, PlanningError, RefusedError
from services.submission import Submission
from services.supervisor import Supervisor
from services.table import JobTable
from tests.hostile import planners

ASKED = Submission(id="x", kind="evaluate", target="absent")
FIELDS = {"kind": "evaluate", "target": "absent"}
SHORT = Limits(seconds=1.5)


@pytest.mark.parametrize(
    ("look", "error", "said"),
    [
        (planners.nothing, PlanningError, "ended without an answer"),
        (planners.exits, PlanningError, "ended without an answer"),
        (planners.never_begins, PlanningError, "could not start"),
        (planners.killed, PlanningError, "ended by SIGKILL"),
        (planners.told_to_end, PlanningError, "ended by SIGTERM"),
        (planners.crashes, RefusedError, "ended with SIGSEGV"),
        (planners.stopped, RefusedError, r"more than 1\.5 seconds"),
        (planners.drips, RefusedError, r"more than 1\.5 seconds"),
        (planners.floods, PlanningError, "ended without an answer"),
        (planners.no_json, PlanningError, "ended without an answer"),
        (planners.no_object, PlanningError, "ended without an answer"),
        (planners.deep, PlanningError, "ended without an answer"),
        (planners.half, PlanningError, "ended without an answer"),
        (planners.other_fields, PlanningError, "ended without an answer"),
        (planners.no_faults, PlanningError, "ended without an answer"),
    ],
)
def test_whatever_becomes_of_it_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Any, error: type[Exception], said: str
) -> None:
    planner = Planner(str(tmp_path), limits=SHORT)
    monkeypatch.setattr(planning, "_look", look)
    if look is planners.never_begins:
        monkeypatch.setattr(planning, "BEGIN_SECONDS", 0.5)
    with pytest.raises(error, match=said):
        planner.check(ASKED)
    assert server().children() == []


def server() -> psutil.Process:
    """The process that the others are copies of."""
    (result,) = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
    return result


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes with few imports: all would take seconds."""
    monkeypatch.setattr(planning, "PRELOADED", ["services.planning"])
    monkeypatch.setattr(planning, "_look", planners.answers_well)
    planning._end_server()  # pyright: ignore[reportPrivateUsage]
    yield
    planning._end_server()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("how", ["kill", "suspend"])
def test_the_process_that_others_are_copies_of_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, light: None, how: str
) -> None:
    planner = Planner(str(tmp_path))
    until_served(planner)
    first = server()
    getattr(first, how)()
    if how == "suspend":
        monkeypatch.setattr(planning, "START_SECONDS", 0.5)
        with pytest.raises(PlanningError, match="could not start to check it"):
            planner.check(ASKED)
        monkeypatch.undo()
        monkeypatch.setattr(planning, "PRELOADED", ["services.planning"])
        monkeypatch.setattr(planning, "_look", planners.answers_well)
    until_served(planner)
    assert server() != first


def until_served(planner: Planner) -> None:
    """Until the kernel has ended what was killed, a submission may still meet it."""
    for _ in range(100):
        with contextlib.suppress(PlanningError):
            planner.check(ASKED)
            return
        time.sleep(0.1)
    pytest.fail("it is not made anew")


def test_whose_process_is_killed_is_told_when_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, light: None
) -> None:
    """Many at once, of which all are answered, and the next is served."""
    table = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}")
    supervisor = Supervisor(str(tmp_path / "runs"), tmp_path / "home", table)
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        until_served(Planner(supervisor.root))
        monkeypatch.setattr(planning, "_look", planners.killed)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: client.post("/plan", json={"id": f"x{n}", **FIELDS}), range(8)))
        assert {(one.status_code, one.headers["retry-after"], one.json()["code"]) for one in answers} == {
            (503, "10", "planning")
        }
        monkeypatch.setattr(planning, "_look", planners.answers_well)
        assert client.post("/jobs", json={"id": "x", **FIELDS}).status_code == 201
    supervisor.stop()
    table.close()
