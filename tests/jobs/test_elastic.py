"""Runs with a range of workers: how many of them train, and when their number changes; nothing is trained here."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision, ScalingDecision, ScalingPolicy
from ray.train.v2.api.config import ScalingConfig

from attn.errors import ConfigError
from attn.runs.recipes import load_config
from attn.training.config import ClusterConfig
from attn.training.train_config import TrainConfig
from jobs.ray_cluster import room, session
from jobs.ray_cluster.capacity import Capacity, Machine
from jobs.ray_cluster.room import ElasticPolicy, NoRoomError, Room
from jobs.ray_cluster.session import plan_resources, plan_workers
from services.plan import what_of


class Cluster:
    """In the place of Ray: what is free on its nodes, and the marks of a run. Time passes where somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, least: int, most: int) -> None:
        self.now, self.free, self.asked = 0.0, dict[str, dict[str, float]](), False
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.pass_by)
        monkeypatch.setattr("ray.train.v2._internal.execution.scaling_policy.elastic.time_monotonic", lambda: self.now)
        monkeypatch.setattr("ray._private.state.available_resources_per_node", lambda: self.free)
        monkeypatch.setattr(room, "_now", lambda workers, each: f"{workers} workers lack room")
        monkeypatch.setattr(room._Wait, "_tell", lambda self: None)
        monkeypatch.setattr(ScalingPolicy, "_maybe_send_resource_request", lambda self: None)
        channel = SimpleNamespace(ask_to_save=self.ask, asked_to_save=lambda: self.asked)
        monkeypatch.setattr(room, "Channel", lambda run_id: channel)
        each = {"CPU": 2.0}
        scaling = ScalingConfig(num_workers=(least, most), resources_per_worker=each)
        workers_for = ClusterConfig(workers=(least, most)).workers_for
        self.policy = ElasticPolicy(scaling, Room("r", 100.0, least, each), workers_for)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def ask(self) -> None:
        self.asked = True

    def start(self) -> int:
        """The number of workers that are to start; the group that is there is ended."""
        decision = self.policy.make_decision_for_non_running_worker_group()
        assert isinstance(decision, ResizeDecision)
        self.policy.before_controller_execute_resize_decision(decision)
        return decision.num_workers

    def run(self, *nodes: str) -> ScalingDecision:
        """What is decided a minute later while workers run on these nodes."""
        self.pass_by(61.0)
        workers = [SimpleNamespace(metadata=SimpleNamespace(node_id=node)) for node in nodes]
        state: Any = SimpleNamespace(workers=workers, num_workers=len(workers), start_time=0.0)
        return self.policy.make_decision_for_running_worker_group(state, None)


@pytest.mark.parametrize(("found", "number"), [(9, 6), (6, 6), (5, 3), (4, 3), (3, 3), (2, 2), (1, None), (0, None)])
def test_workers_divide_the_largest_number_of_them(found: int, number: int | None) -> None:
    assert ClusterConfig(workers=(2, 6)).workers_for(found) == number
    assert ClusterConfig(workers=6).workers_for(found) == (6 if found >= 6 else None)


def test_as_many_start_as_find_room_and_a_lost_node_leaves_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, 1, 4)
    cluster.free = {"a": {"CPU": 5.0}, "b": {"CPU": 4.0}, "head": {}}
    assert cluster.start() == 4
    cluster.free = {"a": {"CPU": 1.0}, "b": {"CPU": 0.0}, "head": {}}
    assert isinstance(cluster.run("a", "a", "b", "b"), NoopDecision)
    cluster.free.pop("b")
    assert cluster.start() == 2, "what the group that is there holds will be free"
    cluster.run("a", "a")
    cluster.free = {}
    with pytest.raises(NoRoomError, match="1 workers lack room"):
        cluster.start()


def test_a_number_that_found_no_room_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, 1, 4)
    cluster.free = {"a": {"CPU": 8.0}}  # a node whose loss is not known yet
    assert [cluster.start() for _ in range(5)] == [4, 2, 1, 4, 2]
    cluster.run("a", "a")
    assert cluster.start() == 4


def test_more_workers_start_after_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, 1, 4)
    cluster.free = {"a": {"CPU": 2.0}}
    assert cluster.start() == 1
    cluster.free = {"a": {"CPU": 0.0}, "b": {"CPU": 3.9}}
    for _ in range(2):
        assert isinstance(cluster.run("a"), NoopDecision)
    assert cluster.asked, "two workers find room"
    cluster.asked = False
    assert isinstance(cluster.run("a"), NoopDecision), "the controller has not seen the checkpoint yet"
    decision = cluster.run("a")
    assert isinstance(decision, ResizeDecision)
    assert decision.num_workers == 2
    cluster.policy.before_controller_execute_resize_decision(decision)
    cluster.free = {"a": {"CPU": 0.0}, "b": {"CPU": 1.9}}
    for _ in range(3):
        assert isinstance(cluster.run("a", "b"), NoopDecision)
    assert not cluster.asked


def test_a_run_that_saves_no_checkpoint_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, 1, 2)
    cluster.free = {"a": {"CPU": 2.0}}
    for _ in range(10):
        assert isinstance(cluster.run("a"), NoopDecision)
        assert cluster.policy.growth is not None
    cluster.run("a")
    assert cluster.policy.growth is None
    cluster.run("a")
    assert cluster.policy.growth is not None, "it is asked again"
    cluster.start()
    assert cluster.policy.growth is None, "an attempt that has ended answers nobody"


def test_a_session_of_this_machine_has_one_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity((Machine(0, 3),)))
    monkeypatch.setattr(session, "_started_here", threading.Event())
    cluster = ClusterConfig(workers=(1, 4))
    resources = plan_resources(cluster)
    assert resources.threads == 1
    assert plan_workers(cluster, resources) == (1, 4)
    session._started_here.set()
    assert plan_workers(cluster, resources) == 2
    assert plan_workers(ClusterConfig(workers=(3, 3)), resources) == 3


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (["cluster.workers=[4,2]"], "is no range: the smaller number comes first"),
        (["cluster.workers=[3,8]"], r"3 does not: set \[4, 8\]"),
        (["cluster.workers=[1,3]"], "training.batch_size=16 must be a multiple of cluster.workers x"),
        (["cluster.workers=[1,2]", "training.batch_size=2", "input.resize=short_side"], "resize=short_side they are"),
        (["cluster.workers=[0,2]"], "greater than or equal to 1"),
    ],
)
def test_a_range_that_cannot_be_is_refused(overrides: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_config(TrainConfig, "scenes_gain", ["training.batch_size=16", *overrides])


def test_extra_supervision_needs_whole_shares() -> None:
    good = ["cluster.workers=[1,2]", "training.batch_size=8", "method.extra_fraction=0.25"]
    config = load_config(TrainConfig, "scenes_gain_ext", good)
    assert what_of(config)["workers"] == (1, 2)
    with pytest.raises(ConfigError, match="extra supervision of 0.5 of the 2 images of a worker"):
        load_config(TrainConfig, "scenes_gain_ext", [*good, "training.batch_size=4"])
