"""The resources for KubeRay."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from attn.errors import ConfigError
from tests.deploy.dockerfile import instructions
from tests.deploy.kuberay_schema import RAY_CLUSTER, RAY_JOB, RAY_SERVICE

FILES = {
    "raycluster": ("RayCluster", RAY_CLUSTER),
    "rayjob": ("RayJob", RAY_JOB),
    "rayservice": ("RayService", RAY_SERVICE),
}


def read(repository: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((repository / "deploy" / "kuberay" / f"{name}.yaml").read_text(encoding="utf-8"))


def cluster_of(resource: dict[str, Any]) -> dict[str, Any]:
    spec = resource["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


@pytest.mark.parametrize("name", FILES)
def test_it_has_the_fields_of_the_reference(repository: Path, name: str) -> None:
    kind, schema = FILES[name]
    resource = read(repository, name)
    assert (resource["apiVersion"], resource["kind"]) == ("ray.io/v1", kind)
    jsonschema.validate(resource["spec"], schema)
    assert cluster_of(resource)["rayVersion"] == ray.__version__


@pytest.mark.parametrize(
    "fault",
    [
        lambda spec: spec.update(maxReplica=1),
        lambda spec: spec["workerGroupSpecs"][0].update(maxReplica=1),
        lambda spec: spec["gcsFaultToleranceOptions"].update(redisUrl="redis:6379"),
        lambda spec: spec["autoscalerOptions"].update(idleTimeoutMinutes=10),
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
    ],
)
def test_a_fault_is_found(repository: Path, fault: Callable[[dict[str, Any]], None]) -> None:
    spec = copy.deepcopy(read(repository, "raycluster")["spec"])
    fault(spec)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, RAY_CLUSTER)


@pytest.mark.parametrize("name", FILES)
def test_gpus_are_asked_for_and_given_to_nobody_else(repository: Path, name: str) -> None:
    cluster = cluster_of(read(repository, name))
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    with_gpu = ["nvidia.com/gpu" in container["resources"]["limits"] for container in containers]
    assert not with_gpu[0]
    assert any(with_gpu)
    for container, gpu in zip(containers, with_gpu, strict=True):
        # The image asks for all GPUs of its machine, which only Kubernetes may give.
        hidden = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in container.get("env", [])
        assert hidden != gpu


def test_a_cluster_starts_from_nothing_and_outlives_its_head(repository: Path) -> None:
    resource = read(repository, "raycluster")
    cluster = resource["spec"]
    assert cluster["enableInTreeAutoscaling"]
    assert all(group["minReplicas"] == 0 < group["maxReplicas"] for group in cluster["workerGroupSpecs"])
    redis = list(yaml.safe_load_all((repository / "deploy" / "kuberay" / "redis.yaml").read_text(encoding="utf-8")))
    service, database = redis
    host, port = cluster["gcsFaultToleranceOptions"]["redisAddress"].split(":")
    assert (host, int(port)) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert service["spec"]["selector"] == database["spec"]["template"]["metadata"]["labels"]
    secret = cluster["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
    (container,) = database["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "PASSWORD", "valueFrom": secret}]


@pytest.mark.parametrize("name", FILES)
def test_only_the_head_may_change_the_cluster(repository: Path, name: str) -> None:
    cluster = cluster_of(read(repository, name))
    head = cluster["headGroupSpec"]["template"]["spec"]["serviceAccountName"]
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert pod["serviceAccountName"] not in (head, "default")
        assert pod["automountServiceAccountToken"] is False


def test_a_job_goes_on_after_its_cluster_was_lost(repository: Path) -> None:
    spec = read(repository, "rayjob")["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert spec["backoffLimit"] > 0
    train = spec["entrypoint"].split()
    assert train[:2] == ["attn", "train"]
    assert {"--run-id", "--or-resume"} <= set(train)
    workers = next(int(word.partition("=")[2]) for word in train if word.startswith("cluster.workers="))
    assert workers == sum(group["replicas"] for group in cluster_of({"spec": spec})["workerGroupSpecs"])


def test_the_prediction_service_is_one_that_serve_builds(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve.schema import ServeDeploySchema

    resource = read(repository, "rayservice")
    config = ServeDeploySchema.model_validate(yaml.safe_load(resource["spec"]["serveConfigV2"]))
    (given,) = config.applications
    module, _, name = given.import_path.partition(":")
    build = getattr(importlib.import_module(module), name)
    with pytest.raises(ConfigError, match="ATTN_SERVICE_TOKENS"):
        build(given.args)
    monkeypatch.setenv("ATTN_SERVICE_TOKENS", '{"a token of a test": "read"}')
    application = build(given.args)
    assert application._bound_deployment.name == "front"
    with pytest.raises(ConfigError, match="did you mean max_replicas"):
        build(given.args | {"max_replica": 4})
    cluster = cluster_of(resource)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert "ATTN_SERVICE_TOKENS" in {variable["name"] for variable in container["env"]}
        if group is not cluster["headGroupSpec"]:
            cores = float(container["resources"]["limits"]["cpu"])
            assert given.args["cpus"] + given.args["front_cpus"] * given.args["fronts"] <= cores


def test_the_image_has_what_kuberays_probes_call(repository: Path) -> None:
    packages = " ".join(rest for word, rest in instructions(repository / "Dockerfile") if word == "RUN")
    assert "wget" in packages.split()
