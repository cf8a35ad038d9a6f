"""Runs that wait for room on a cluster: how long, and what they tell meanwhile."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.train import FailureConfig
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision, ScalingPolicy
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.exceptions import ControllerError

from attn import progress
from attn.errors import RunError
from attn.progress.streams import Lines
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from jobs.ray_cluster import room
from jobs.ray_cluster.progress import ProgressFile, TrainingProgress
from jobs.ray_cluster.room import FailurePolicy, FixedPolicy, NoRoomError, Room, room_text
from jobs.train import run


def test_what_is_lacking_is_said_with_what_there_is() -> None:
    each = {"CPU": 2.0, "GPU": 0.5, "other": 0.0}
    assert room_text(2, each, {"CPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}) == (
        "the run needs 2 workers of 2 CPUs and 0.5 GPU each, and the cluster has 1 of 4 CPUs free and 0 of 1 GPUs free"
    )


def test_a_wait_for_room_is_no_failure_and_others_count_as_before() -> None:
    policy = FailurePolicy(FailureConfig(max_failures=0, controller_failure_limit=1))
    for _ in range(5):
        assert policy.make_decision(ControllerError(WorkerGroupStartupTimeoutError(2))) == FailureDecision.RETRY
    assert policy.make_decision(ControllerError(NoRoomError("no room"))) == FailureDecision.RAISE
    failed = ControllerError(WorkerGroupStartupFailedError("a worker died"))
    assert [policy.make_decision(failed) for _ in range(2)] == [FailureDecision.RETRY, FailureDecision.RAISE]


class Clock:
    """In the place of `time`, and of what Ray knows of a cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.pass_by)
        monkeypatch.setattr(room, "_now", lambda workers, each: f"{workers} workers of {each} lack room")
        monkeypatch.setattr(room._Wait, "_tell", lambda self: None)
        monkeypatch.setattr(ScalingPolicy, "_maybe_send_resource_request", lambda self: None)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_a_run_waits_as_long_as_it_is_told_whenever_its_workers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    running: Any = {"worker_group_state": None, "worker_group_status": None}
    policy = FixedPolicy(ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}), Room("r", 100.0, 2, {"CPU": 1}))
    for _ in range(2):
        assert isinstance(policy.make_decision_for_non_running_worker_group(), ResizeDecision)
        clock.pass_by(99.0)
        assert isinstance(policy.make_decision_for_non_running_worker_group(), ResizeDecision)
        assert isinstance(policy.make_decision_for_running_worker_group(**running), NoopDecision)
        clock.pass_by(500.0)
    policy.make_decision_for_non_running_worker_group()
    clock.pass_by(100.0)
    with pytest.raises(NoRoomError, match=r"waited for room for cluster.start_timeout=100 s, and 2 workers of {'CPU'"):
        policy.make_decision_for_non_running_worker_group()


def test_what_a_run_waits_for_is_shown_until_there_is_room(tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "progress.json"
    keep = ProgressFile(lambda name, text: file.write_text(text))
    with progress.shown(Lines(stream)), TrainingProgress((2, 2)) as shown:
        for text in ("waiting for room: 2 workers", ""):
            for consume in (shown, keep):
                consume({"kind": "waiting", "text": text})
            assert json.loads(file.read_text())["text"] == text
    assert stream.getvalue().splitlines() == [
        "starting 2 workers ...", "waiting for room: 2 workers ...", "starting 2 workers ..."
    ]  # fmt: skip
    keep({"kind": "step", "step": 1})
    assert json.loads(file.read_text())["step"] == 1, "the first step replaces what was waited for"


@pytest.mark.usefixtures("ray_up")
def test_a_run_that_finds_no_room_says_what_it_waits_for_and_ends(tmp_path: Path, quick: list[str]) -> None:
    cores = int(ray.cluster_resources()["CPU"])
    small = [*quick, "cluster.workers=1", "cluster.threads=1", "cluster.start_timeout=7", "tracking.enabled=false"]
    config = load_config(TrainConfig, "scenes_gain", [*small, f"root={tmp_path}", "validation.split=null"])
    remote: Any = ray.remote(num_cpus=cores)(threading.Event)
    hold = remote.remote()
    ray.get(hold.is_set.remote())
    try:
        with pytest.raises(RunError, match="NoRoomError: it has waited for room for cluster.start_timeout=7 s"):
            run(config, run_id="r")
    finally:
        ray.kill(hold)
    told = json.loads((tmp_path / "r" / "progress.json").read_text())
    assert told["kind"] == "waiting"
    state = json.loads((tmp_path / "r" / "run.json").read_text())
    assert state["state"] == "failed"
    assert f"the run needs 1 worker of 1 CPU each, and the cluster has 0 of {cores} CPUs free" in state["error"]
