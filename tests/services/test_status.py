"""What a status says of a run's progress, whatever the wall clock was set to since."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
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


def test_a_run_that_waits_for_room_says_what_it_lacks(tmp_path: Path) -> None:
    leave_progress(tmp_path)
    job = started(Moment.now())
    assert status_of(job, str(tmp_path), None).waiting is None
    waits = {"kind": "waiting", "text": "waiting for room: ...", **asdict(Moment.now())}
    (tmp_path / "j" / "progress.json").write_text(json.dumps(waits))
    assert status_of(job, str(tmp_path), None).waiting == "waiting for room: ..."


def test_a_pipelines_status_is_that_of_its_current_stage(tmp_path: Path) -> None:
    begun = {"train": {"run_id": "j-train", "state": "done", "reused": True},
             "cues": {"run_id": "j-cues", "state": "done"},
             "segment": {"run_id": "j-segment", "state": "running"}}  # fmt: skip
    names = ["train", "cues", "segment", "evaluation"]
    leave(tmp_path, "j", kind="pipeline", state="running", started=5.0, resumed=9.0, seconds=100.0, stages=begun,
          stage_names=names)  # fmt: skip
    leave(tmp_path, "j-segment", kind="segment", state="running", epoch=0, step=3, about={"epochs": 4})
    now = Moment.now()
    job = replace(started(now), attempt=1)
    status = status_of(job, str(tmp_path), None)
    assert status.stages == {"train": "reused", "cues": "done", "segment": "running", "evaluation": "waiting"}
    assert status.run is not None
    assert status.run.progress == "stage 3 of 4, segment: 0/4 epochs, step 3"
    assert status.run.started == 5.0
    assert status.run.seconds == pytest.approx(100 + now.time - 9.0, abs=60)
    leave(tmp_path, "j", kind="pipeline", state="cancelled", stages=begun, stage_names=names)
    ended = status_of(replace(job, state="cancelled"), str(tmp_path), None)
    assert ended.stages == {"train": "reused", "cues": "done", "segment": "cancelled", "evaluation": "not begun"}


def leave(root: Path, name: str, **fields: object) -> None:
    (root / name).mkdir(exist_ok=True)
    (root / name / "run.json").write_text(json.dumps({"id": name, **fields}))
