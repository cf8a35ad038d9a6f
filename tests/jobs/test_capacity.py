"""What a cluster can have, and what runs ask of it."""

from __future__ import annotations

import subprocess
import sys
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
from jobs.ray_cluster import autoscaler, session
from jobs.ray_cluster.autoscaler import Autoscaler, NodeType, NodeTypesUnknown, autoscaler_of, config_on_head
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
        assert plan_resources(ClusterConfig(workers=4)) == Resources(True, 1, {"CPU": 1, "GPU": 1})
        assert plan_resources(ClusterConfig(workers=8, gpus_per_worker=0.5)).per_worker["GPU"] == 0.5
        assert plan_resources(ClusterConfig(workers=4, device="cpu")) == Resources(False, 8, {"CPU": 8})
        assert RayCrfPool().size >= 4 * 8 + 2 * 16
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
    assert autoscaler_of(local) == Autoscaler((NodeType("local.cluster.node", 0, 0, 2),), 2)
    resource = yaml.safe_load((repository / "deploy" / "kuberay" / "raycluster.yaml").read_text())
    resource["metadata"]["namespace"] = "default"
    kuberay = autoscaler_of(_derive_autoscaling_config_from_ray_cr(resource))
    assert {(one.name, one.cores > 0, one.gpus) for one in kuberay.types} == {("cpu", True, 0), ("gpu", True, 1)}


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
        ({"workers": 4}, [HEAD, *[WITH_GPU] * 4], (True, 1)),
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
    monkeypatch.setattr(session, "cluster_capacity", lambda: Capacity((HEAD,), unknown="403 Forbidden"))
    assert plan_resources(ClusterConfig(workers=2)) == Resources(False, 1, {"CPU": 1})
    assert plan_resources(ClusterConfig(workers=2, device="gpu")).per_worker == {"CPU": 1, "GPU": 1}
    assert all("403 Forbidden" in text for text in said)
    assert len(said) == 2


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
    monkeypatch.setenv("RAY_CLUSTER_NAME", "attn")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setattr(autoscaler, "NAMESPACE_FILE", tmp_path / "none")
    with pytest.raises(NodeTypesUnknown, match="Kubernetes does not show the RayCluster attn"):
        config_on_head("10.0.0.1:6381")
