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
HEAD_SECONDS = 60.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CONFIG_OPTION, ADDRESS_OPTION = "--autoscaling-config=", "--gcs-address="


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

    types: tuple[NodeType, ...] = ()
    most: int = 0


def find_autoscaler() -> Autoscaler:
    """What the autoscaler of the session that is up may start: nothing where a cluster has none.

    Raises:
        NodeTypesUnknown: There is one, and it could not be asked.
    """
    import ray
    from ray._private.state import state

    described = state.get_cluster_config()  # kept by autoscalers that are not Ray's own
    if described is not None:
        types = [
            NodeType(
                group.name,
                int(group.resources.get("CPU", 0)),
                int(group.resources.get("GPU", 0)),
                group.max_count if group.max_count >= 0 else UNLIMITED,
            )
            for group in described.node_group_configs
        ]
        return Autoscaler(tuple(types), UNLIMITED)
    gcs_address = ray.get_runtime_context().gcs_address
    here = ray.get_runtime_context().get_node_id()
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]
    config = config_on_head(gcs_address) if here in heads else _ask_head(gcs_address)
    return Autoscaler() if config is None else autoscaler_of(config)


def autoscaler_of(config: Mapping[str, Any]) -> Autoscaler:
    """What a config of Ray's autoscaler allows, as `ray up` completes it and KubeRay's resource is turned into it."""
    types = []
    for name, node_type in config["available_node_types"].items():
        resources = node_type.get("resources") or {}
        most = int(node_type.get("max_workers", config.get("max_workers", 0)))
        if name != config.get("head_node_type") or most > 0:
            types.append(NodeType(name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), most))
    return Autoscaler(tuple(types), int(config.get("max_workers", sum(one.most for one in types))))


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
    # KubeRay runs the autoscaler in a container of its own, beside the head's.
    cluster = os.environ.get("RAY_CLUSTER_NAME")
    return _of_kuberay(cluster) if cluster and "KUBERNETES_SERVICE_HOST" in os.environ else None


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


def _ask_head(gcs_address: str) -> dict[str, Any] | None:
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    options: dict[str, Any] = {"num_cpus": 0, "resources": {HEAD: 0.001}, "max_retries": 0}
    task: Any = ray.remote(config_on_head).options(**options)
    try:
        config: Any = ray.get(task.remote(gcs_address), timeout=HEAD_SECONDS)
    except NodeTypesUnknown as error:
        raise NodeTypesUnknown(str(error)) from None  # without the trace of the task
    except GetTimeoutError:
        raise NodeTypesUnknown(f"the head did not answer in {HEAD_SECONDS:.0f} s") from None
    except RayError as error:
        raise NodeTypesUnknown(f"the head could not be asked: {str(error).strip().splitlines()[-1]}") from None
    return config
