"""What a status says of a run's progress, whatever the wall clock was set to since."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from attn import boot_clock
from attn.boot_clock import Moment
from services.status import status_of
from services.table import Job
from tests.clocks import Clocks

DAY = 86400.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch, [boot_clock])


def started(now: Moment) -> Job:
    return Job(
        id="j", kind="train", target="t", request="r", state="running", started=now.time, started_clock=now.clock
    )


def leave_progress(root: Path) -> None:
    (root / "j").mkdir(exist_ok=True)
    (root / "j" / "run.json").write_text(json.dumps({"id": "j", "state": "running"}))
    (root / "j" / "progress.json").write_text(json.dumps({"step": 5, "seconds_left": 60.0, **asdict(Moment.now())}))


@pytest.mark.parametrize("step", [-DAY, -200.0, -1.0, 1.0, 200.0, DAY])
def test_progress_and_time_left_outlive_a_step_of_the_clock(tmp_path: Path, clocks: Clocks, step: float) -> None:
    job = started(Moment.now())
    clocks.go_by(5)
    clocks.step(step / 2)
    leave_progress(tmp_path)
    clocks.go_by(20)
    clocks.step(step / 2)
    status = status_of(job, str(tmp_path), None)
    assert status.progress is not None
    assert status.progress["step"] == 5
    assert status.eta == pytest.approx(40, abs=0.01)
    clocks.go_by(200)
    assert status_of(job, str(tmp_path), None).eta is None  # nothing was told for too long


@pytest.mark.parametrize("step", [-DAY, 0.0, DAY])
def test_progress_of_an_earlier_attempt_is_not_this_ones(tmp_path: Path, clocks: Clocks, step: float) -> None:
    leave_progress(tmp_path)
    clocks.go_by(5)
    clocks.step(step)
    assert status_of(started(Moment.now()), str(tmp_path), None).progress is None
