"""What a cluster can have, and what runs ask of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config
from ray.core.generated.autoscaler_pb2 import ClusterConfig as Described
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put

from attn import progress
from attn.errors import RunError
from attn.runs.sweep.load import read_sweep
from attn.training.config import ClusterConfig
from jobs.ray_cluster import autoscaler, session, worker_pool
from jobs.ray_cluster.autoscaler import (
    UNLIMITED,
    Autoscaler,
    NodeType,
    NodeTypesUnknown,
    autoscaler_of,
    config_on_head,
    find_autoscaler,
)
from jobs.ray_cluster.capacity import Capacity, Machine, cluster_capacity, machines_to_come, places
from jobs.ray_cluster.crf_tasks import RayCrfPool
from jobs.ray_cluster.session import Resources, plan_resources
from jobs.sweeps.plan import make_plan

HEAD = Machine(gpus=0, cores=0)
WITH_GPU = Machine(gpus=1, cores=8)
SWEEP = """
kind: sweep
recipe: scenes_gain
set: {data.count: 32, cluster.workers: 1, training: {epochs: 1}}
space: {optimizer.lr: {low: 0.001, high: 0.1}}
search: {name: random, trials: 16}
"""


@contextmanager
def described(*groups: tuple[int, int, int]) -> Iterator[None]:
    """A description of (cores, GPUs, most machines), where autoscalers that are not Ray's own leave one."""
    config = Described()
    for number, (cores, gpus, most) in enumerate(groups):
        config.node_group_configs.add(name=str(number), max_count=most, resources={"CPU": cores, "GPU": gpus})
    key, namespace = (
        name.encode()
        for name in (ray._raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, ray._raylet.GCS_AUTOSCALER_STATE_NAMESPACE)
    )
    _internal_kv_put(key, config.SerializeToString(), namespace=namespace)
    try:
        yield
    finally:
        _internal_kv_del(key, namespace=namespace)


def test_runs_ask_for_what_a_session_can_have(ray_up: None) -> None:
    here = cluster_capacity()
    assert here.to_come == ()
    assert here.unknown is None
    assert sum(machine.cores for machine in here.up) == ray.cluster_resources()["CPU"]
    with described((8, 1, 4), (16, 0, 2)):
        assert cluster_capacity().to_come == (*[WITH_GPU] * 4, *[Machine(0, 16)] * 2)
        assert plan_resources(ClusterConfig(workers=4)) == Resources(True, 5, {"CPU": 5, "GPU": 1})
        assert plan_resources(ClusterConfig(workers=8, gpus_per_worker=0.5)).per_worker["GPU"] == 0.5
        assert plan_resources(ClusterConfig(workers=4, device="cpu")) == Resources(False, 8, {"CPU": 8})
        assert RayCrfPool().size == ray.cluster_resources()["CPU"], "images wait for cores that are up"
        plan = make_plan(*read_sweep(SWEEP, "sweep.yaml"))
        assert (plan.parallel, plan.per_trial["GPU"]) == (4, 1)
    with described((8, 0, 3)):
        assert not plan_resources(ClusterConfig(workers=3)).use_gpu
        with pytest.raises(RunError, match="the cluster has no GPU, and may start no machine with one"):
            plan_resources(ClusterConfig(device="gpu"))


def test_the_files_of_the_clusters_are_understood(repository: Path) -> None:
    launcher = prepare_config(yaml.safe_load((repository / "ray_cluster.yaml").read_text()))
    assert autoscaler_of(launcher) == Autoscaler((NodeType("gpu", 8, 1, 4),), 4)
    local = prepare_config(yaml.safe_load((repository / "deploy" / "ray_cluster_local.yaml").read_text()))
    with pytest.raises(NodeTypesUnknown, match=r"says of the machines local\.cluster\.node not what they have"):
        autoscaler_of(local)
    resource = yaml.safe_load((repository / "deploy" / "kuberay" / "raycluster.yaml").read_text())
    resource["metadata"]["namespace"] = "default"
    kuberay = autoscaler_of(_derive_autoscaling_config_from_ray_cr(resource))
    assert {(one.name, one.cores > 0, one.gpus) for one in kuberay.types} == {("cpu", True, 0), ("gpu", True, 1)}
    for group in resource["spec"]["workerGroupSpecs"]:
        group["maxReplicas"] = 2147483647  # what Kubernetes puts where nothing is given
    unlimited = autoscaler_of(_derive_autoscaling_config_from_ray_cr(resource))
    assert len(machines_to_come(unlimited, [])) == UNLIMITED


@pytest.mark.parametrize(
    ("types", "most", "up", "to_come"),
    [
        ([(8, 1, 4)], 4, [], [WITH_GPU] * 4),
        ([(8, 1, 4)], 4, [WITH_GPU], [WITH_GPU] * 3),
        ([(16, 0, 4), (8, 1, 4)], 5, [], [WITH_GPU] * 4 + [Machine(0, 16)]),
        ([(16, 0, 4), (8, 1, 4)], 5, [Machine(0, 16)] * 3, [WITH_GPU] * 2),
        ([(8, 1, 0)], 4, [], []),
        ([], 0, [WITH_GPU], []),
    ],
)
def test_machines_to_come(
    types: list[tuple[int, int, int]], most: int, up: list[Machine], to_come: list[Machine]
) -> None:
    named = tuple(NodeType(str(number), *values) for number, values in enumerate(types))
    assert list(machines_to_come(Autoscaler(named, most), up)) == to_come
    if most == 5 and not up:
        expected = [Machine(0, 16)] * 4 + [WITH_GPU]
        assert list(machines_to_come(Autoscaler(named, most), up, gpus_first=False)) == expected


@pytest.mark.parametrize(
    ("machines", "cores", "gpus", "expected"),
    [
        ([WITH_GPU], 1, 1, 1),
        ([WITH_GPU], 1, 0, 8),
        ([WITH_GPU], 1, 0.1, 8),
        ([Machine(4, 2)], 1, 1, 2),
        ([Machine(2, 8)], 1, 0.4, 4),  # two on each: none has a part of two GPUs
        ([Machine(1, 99)], 1, 0.1, 10),
        ([HEAD, WITH_GPU, Machine(0, 64)], 1, 1, 1),
    ],
)
def test_places(machines: list[Machine], cores: int, gpus: float, expected: int) -> None:
    assert places(machines, cores, gpus) == expected


@pytest.mark.parametrize(
    ("cluster", "machines", "expected"),
    [
        ({"workers": 4}, [HEAD, *[WITH_GPU] * 4], (True, 5)),
        ({"workers": 4}, [HEAD, *[Machine(1, 3)] * 4], (True, 3)),
        ({"workers": 4, "data_workers": 0}, [HEAD, *[WITH_GPU] * 4], (True, 1)),
        ({"workers": 4, "data_workers": 4}, [HEAD, *[WITH_GPU] * 4], (True, 5)),
        ({"workers": 4, "data_workers": 40}, [HEAD, *[WITH_GPU] * 4], (True, 8)),
        ({"workers": 4, "device": "cpu"}, [HEAD, *[WITH_GPU] * 4], (False, 8)),
        ({"workers": 2, "device": "cpu"}, [HEAD, WITH_GPU, Machine(0, 4)], (False, 2)),
        ({"workers": 5}, [HEAD, *[WITH_GPU] * 4], (False, 4)),
        # The machine with most cores is none that a worker on a GPU could be on.
        ({"workers": 1, "data_workers": 40}, [HEAD, WITH_GPU, Machine(0, 64)], (True, 8)),
        ({"workers": 2, "gpus_per_worker": 0.5, "data_workers": 40}, [WITH_GPU], (True, 4)),
    ],
)
def test_the_device_and_threads_of_workers(
    monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any], machines: list[Machine], expected: tuple[bool, int]
) -> None:
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity((machines[0],), tuple(machines[1:])))
    resources = plan_resources(ClusterConfig(**cluster))
    assert (resources.use_gpu, resources.threads) == expected
    assert resources.backend == ("nccl" if resources.use_gpu and "gpus_per_worker" not in cluster else "gloo")


def test_a_cluster_that_cannot_be_asked_is_planned_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(session, "_started_here", threading.Event())
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity((HEAD,), unknown="403 Forbidden"))
    assert plan_resources(ClusterConfig(workers=2)) == Resources(False, 1, {"CPU": 1})
    assert plan_resources(ClusterConfig(workers=2, device="gpu")).per_worker == {"CPU": 1, "GPU": 1}
    assert all("403 Forbidden" in text for text in said)
    assert len(said) == 2
    up = (HEAD, WITH_GPU, WITH_GPU)
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity(up, unknown="403 Forbidden"))
    assert plan_resources(ClusterConfig(workers=3)) == Resources(False, 4, {"CPU": 4})
    assert "because the cluster has 2 GPUs" in said[2]
    assert plan_resources(ClusterConfig(workers=2)).use_gpu
    assert len(said) == 3, "nothing is said where machines that are up do"


@pytest.mark.parametrize(
    ("up", "cluster", "expected"),
    [
        ([HEAD], {"workers": 2}, Resources(False, 1, {"CPU": 1})),
        ([HEAD], {"workers": 2, "device": "gpu"}, Resources(True, 1, {"CPU": 1, "GPU": 1})),
        ([HEAD, Machine(1, 16)], {"workers": 2, "device": "gpu"}, Resources(True, 1, {"CPU": 1, "GPU": 1})),
        ([HEAD, Machine(0, 4)], {"workers": 8, "threads": 4}, Resources(False, 4, {"CPU": 4})),
    ],
)
def test_a_run_waits_for_machines_that_nobody_has_named(
    monkeypatch: pytest.MonkeyPatch, up: list[Machine], cluster: dict[str, Any], expected: Resources
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(session, "_started_here", threading.Event())
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity(tuple(up)))
    assert plan_resources(ClusterConfig(**cluster), may_grow=True) == expected
    assert len(said) == 1
    assert "The run waits for machines, up to cluster.start_timeout=1200 s; or use fewer" in said[0]
    with pytest.raises(RunError, match="use fewer"):
        plan_resources(ClusterConfig(**cluster))
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity(tuple(up), autoscaled=True))
    with pytest.raises(RunError, match="use fewer"):
        plan_resources(ClusterConfig(**cluster), may_grow=True)
    session._started_here.set()
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity(tuple(up)))
    with pytest.raises(RunError, match="use fewer"):
        plan_resources(ClusterConfig(**cluster), may_grow=True)


@pytest.mark.parametrize(
    ("machines", "cluster", "threads"),
    [
        ([Machine(0, 4), Machine(1, 64)], {"workers": 4, "device": "cpu"}, 16),
        ([Machine(0, 8), Machine(1, 64)], {"workers": 8}, 8),
        ([Machine(0, 4), Machine(1, 64)], {"workers": 1}, 5),
        ([Machine(4, 64)], {"workers": 4, "data_workers": 20}, 16),
    ],
)
def test_machines_that_are_up_give_workers_all_their_cores(
    monkeypatch: pytest.MonkeyPatch, machines: list[Machine], cluster: dict[str, Any], threads: int
) -> None:
    monkeypatch.setattr(progress, "say", lambda text: None)
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity(tuple(machines)))
    assert plan_resources(ClusterConfig(**cluster)).threads == threads


def test_runs_on_cpus_count_the_machines_that_hold_most_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = Autoscaler((NodeType("gpu", 8, 1, 4), NodeType("cpu", 64, 0, 4)), 4)
    first = [machines_to_come(kinds, [], gpus_first=given) for given in (True, False)]
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity((HEAD,), *first, autoscaled=True))
    assert plan_resources(ClusterConfig(workers=64, device="cpu")).threads == 4
    assert plan_resources(ClusterConfig(workers=4)).use_gpu


def test_the_trials_of_a_sweep_have_all_cores() -> None:
    for cores, gpus, given in ((16, 1, (1, 16)), (16, 4, (4, 4)), (16, 0, (16, 1))):
        plan = make_plan(*read_sweep(SWEEP, "sweep.yaml"), cores=cores, gpus=gpus)
        assert (plan.parallel, plan.threads) == given


@pytest.mark.parametrize(
    ("up", "to_come", "expected"),
    [
        ([HEAD, Machine(0, 8)], [WITH_GPU], 0),  # what is up works; a GPU would have to be waited for
        ([HEAD, Machine(0, 8), WITH_GPU], [], 1),
        ([HEAD], [WITH_GPU], 1),
        ([HEAD], [], 0),
    ],
)
def test_tasks_use_gpus_that_are_up(
    monkeypatch: pytest.MonkeyPatch, up: list[Machine], to_come: list[Machine], expected: bool
) -> None:
    monkeypatch.setattr(worker_pool, "machines_up", lambda: tuple(up))
    monkeypatch.setattr(worker_pool, "cluster_capacity", lambda: Capacity(tuple(up), tuple(to_come)))
    assert worker_pool._has_gpus() == expected


def _fails(gcs_address: str) -> None:
    raise KeyError(f"no such key for {gcs_address}")


def test_a_trial_asks_the_head_outside_its_own_share_of_the_cluster(
    ray_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    def trial() -> Any:
        return autoscaler._ask_head("127.0.0.1:1")

    group = placement_group([{"memory": 1 << 20}])
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    options: dict[str, Any] = {"num_cpus": 0, "memory": 1 << 20, "scheduling_strategy": strategy}
    try:
        assert ray.get(ray.remote(trial).options(**options).remote()) is None
    finally:
        remove_placement_group(group)
    monkeypatch.setattr(autoscaler, "_answer_of_head", _fails)
    monkeypatch.setattr(autoscaler, "HEAD", "CPU")  # as if this node were none
    with pytest.raises(NodeTypesUnknown) as raised:
        find_autoscaler()
    assert str(raised.value).startswith("the cluster could not be asked: ")
    assert len(str(raised.value).splitlines()) == 1


def test_the_head_knows_its_autoscalers_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("available_node_types: {}\n")
    address = "--gcs-address=10.0.0.1:6381"
    sleep = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(60)", address]
    with subprocess.Popen([*sleep, f"--autoscaling-config={file}"], stdout=subprocess.PIPE) as monitor:
        assert monitor.stdout
        monitor.stdout.readline()
        try:
            assert config_on_head("head:6381") == {"available_node_types": {}}
            assert config_on_head("10.0.0.1:6382") is None, "that of another cluster"
            file.unlink()
            with pytest.raises(NodeTypesUnknown, match="cannot be read"):
                config_on_head("10.0.0.1:6381")
        finally:
            monitor.kill()


@pytest.mark.parametrize(
    ("command", "address", "is_asked"),
    [
        ("ray start --head  --no-monitor  --num-cpus=0 ", "10.0.0.1:6379", True),
        ("ray start --head  --port=6380  --no-monitor ", "10.0.0.1:6380", True),
        ("ray start --head  --no-monitor  --num-cpus=0 ", "127.0.0.1:61234", False),  # a session of this pod alone
        ("ray start --head  --num-cpus=0 ", "10.0.0.1:6379", False),  # no autoscaler, and no right to ask
        ("ray start  --address=attn-head:6379 ", "127.0.0.1:6379", False),
        ("", "10.0.0.1:6379", False),
    ],
)
def test_kubernetes_is_asked_where_it_starts_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, address: str, is_asked: bool
) -> None:
    monkeypatch.setenv("RAY_CLUSTER_NAME", "attn")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERAY_GEN_RAY_START_CMD", command)
    monkeypatch.setattr(autoscaler, "NAMESPACE_FILE", tmp_path / "none")
    if is_asked:
        with pytest.raises(NodeTypesUnknown, match="Kubernetes does not show the RayCluster attn"):
            config_on_head(address)
    else:
        assert config_on_head(address) is None
