"""The kinds of machines that a cluster's autoscaler may start, from whatever started the cluster.

Ray's own state lists only machines that are up. Where no worker is, as on a cluster that starts from nothing, what it
can have stands in the autoscaler's config: the file of `ray up` on the head, or the resource of KubeRay.
"""

# pyright: reportPrivateUsage=false
# Ray has no public name for what its autoscaler may start.

from __future__ import annotations

__all__ = ["Autoscaler", "NodeType", "NodeTypesUnknown", "autoscaler_of", "find_autoscaler"]

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNLIMITED = 4096
"""In place of a number of machines without a limit; a run has no more workers."""
HEAD = "node:__internal_head__"
"""Resource of a cluster's head alone."""
HEAD_SECONDS = 20.0
WITHOUT_RESOURCES = "its autoscaler's config says of the machines {} not what they have"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CONFIG_OPTION, ADDRESS_OPTION = "--autoscaling-config=", "--gcs-address="
KUBERAY_COMMAND = "KUBERAY_GEN_RAY_START_CMD"
"""How KubeRay starts Ray in a pod."""


class NodeTypesUnknown(Exception):
    """There is an autoscaler, and what it may start could not be learnt; the text says why."""


@dataclass(frozen=True)
class NodeType:
    """A kind of machine.

    Attributes:
        most: How many of it there may be at a time.
    """

    name: str
    cores: int
    gpus: int
    most: int


@dataclass(frozen=True)
class Autoscaler:
    """What an autoscaler may start.

    Attributes:
        most: Machines of all types together, besides the head.
    """

    types: tuple[NodeType, ...]
    most: int


def find_autoscaler() -> Autoscaler | None:
    """What the autoscaler of the session that is up may start: None where a cluster has none.

    Raises:
        NodeTypesUnknown: There is one, and it could not be asked.
    """
    try:
        return _find_autoscaler()
    except NodeTypesUnknown:
        raise
    except (
        Exception
    ) as error:  # a question that only helps to plan, to parts of Ray that are not public: no run ends by it
        raise NodeTypesUnknown(f"the cluster could not be asked: {_reason(error)}") from error


def _find_autoscaler() -> Autoscaler | None:
    import ray
    from ray._private.state import state

    described = state.get_cluster_config()  # kept by autoscalers that are not Ray's own
    if described is not None:
        for group in described.node_group_configs:
            if group.max_count and not group.resources:
                raise NodeTypesUnknown(WITHOUT_RESOURCES.format(group.name))
        types = [
            NodeType(
                group.name,
                int(group.resources.get("CPU", 0)),
                int(group.resources.get("GPU", 0)),
                _limited(group.max_count if group.max_count >= 0 else UNLIMITED),
            )
            for group in described.node_group_configs
        ]
        return Autoscaler(tuple(types), UNLIMITED)
    gcs_address = ray.get_runtime_context().gcs_address
    here = ray.get_runtime_context().get_node_id()
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]
    answer = _answer_of_head(gcs_address) if here in heads else _ask_head(gcs_address)
    if isinstance(answer, str):
        raise NodeTypesUnknown(answer)
    return answer


def autoscaler_of(config: Mapping[str, Any]) -> Autoscaler:
    """What a config of Ray's autoscaler allows, as `ray up` completes it and KubeRay's resource is turned into it.

    Raises:
        NodeTypesUnknown: It does not say what a machine has, as where machines are given by their addresses.
    """
    types = []
    for name, node_type in config["available_node_types"].items():
        resources = node_type.get("resources") or {}
        most = _limited(int(node_type.get("max_workers", config.get("max_workers", 0))))
        if name != config.get("head_node_type") or most > 0:
            if not resources:
                raise NodeTypesUnknown(WITHOUT_RESOURCES.format(name))
            types.append(NodeType(name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), most))
    return Autoscaler(tuple(types), _limited(int(config.get("max_workers", sum(one.most for one in types)))))


def _limited(machines: int) -> int:
    return min(machines, UNLIMITED)


def config_on_head(gcs_address: str) -> dict[str, Any] | None:
    """The config of this head's autoscaler; None where it has none.

    Args:
        gcs_address: Of the cluster: a machine may be the head of several, by the port.

    Raises:
        NodeTypesUnknown: It cannot be read.
    """
    import psutil
    import yaml

    for process in psutil.process_iter(["cmdline"]):
        arguments: list[str] = process.info["cmdline"] or []
        addresses = [one for one in arguments if one.startswith(ADDRESS_OPTION)]
        if not any(one.rpartition(":")[2] == gcs_address.rpartition(":")[2] for one in addresses):
            continue
        files = [one.removeprefix(CONFIG_OPTION) for one in arguments if one.startswith(CONFIG_OPTION)]
        if not files:
            continue
        try:
            return yaml.safe_load(Path(files[0]).expanduser().read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise NodeTypesUnknown(f"the autoscaler's config {files[0]} cannot be read: {error}") from None
    cluster = os.environ.get("RAY_CLUSTER_NAME")
    return _of_kuberay(cluster) if cluster and _is_kuberays(gcs_address) else None


def _is_kuberays(gcs_address: str) -> bool:
    """Whether this is the head's pod of the cluster, and KubeRay runs an autoscaler in a container beside it.

    A pod may also hold a session that a run started for itself, and a cluster without an autoscaler has no right to ask
    Kubernetes.
    """
    options: dict[str, str] = {}
    for word in os.environ.get(KUBERAY_COMMAND, "").split():
        name, _, value = word.partition("=")
        options[name] = value
    return "--no-monitor" in options and options.get("--port", "6379") == gcs_address.rpartition(":")[2]


def _of_kuberay(cluster: str) -> dict[str, Any] | None:
    import requests
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    try:
        namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        resource = KubernetesHttpApiClient(namespace).get(f"rayclusters/{cluster}")
    except (OSError, requests.RequestException) as error:
        raise NodeTypesUnknown(f"Kubernetes does not show the RayCluster {cluster}: {error}") from None
    if not resource["spec"].get("enableInTreeAutoscaling"):
        return None
    return _derive_autoscaling_config_from_ray_cr(resource)


def _answer_of_head(gcs_address: str) -> Autoscaler | str | None:
    """What this head's autoscaler may start, or why that is not known; its config may hold keys, and stays here."""
    try:
        config = config_on_head(gcs_address)
        return None if config is None else autoscaler_of(config)
    except NodeTypesUnknown as error:
        return str(error)


def _ask_head(gcs_address: str) -> Autoscaler | str | None:
    import ray
    from ray.exceptions import GetTimeoutError

    # Named, so that the task is not put into the placement group of a trial that asks.
    options: dict[str, Any] = {
        "num_cpus": 0,
        "resources": {HEAD: 0.001},
        "max_retries": 0,
        "scheduling_strategy": "DEFAULT",
    }
    task: Any = ray.remote(_answer_of_head).options(**options)
    asked = task.remote(gcs_address)
    try:
        answer: Any = ray.get(asked, timeout=HEAD_SECONDS)
    except GetTimeoutError:
        ray.cancel(asked)
        return f"the head did not answer in {HEAD_SECONDS:.0f} s"
    return answer


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)  # the text of Ray's own is the trace of the task
    text = str(cause if isinstance(cause, Exception) else error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
