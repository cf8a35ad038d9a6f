"""Check everything that a run depends on, here or on every node of a cluster."""

from __future__ import annotations

__all__ = ["DoctorResult", "run"]

import os
import time
from dataclasses import dataclass
from typing import Any

from attn.errors import AttnError, RunError
from attn.health.access import check_listeners, check_token
from attn.health.finding import Finding
from attn.health.judge import judge, judge_clock, judge_code, judge_equal, judge_probe
from attn.health.node import Facts, inspect_node
from attn.health.root_checks import check_conditional_writes, probe_under
from attn.tracking.address import tracking_uri
from attn.tracking.model_lookup import ModelLookup
from jobs.ray_cluster.capacity import cluster_capacity
from jobs.ray_cluster.session import ray_session

NODE_SECONDS = 120.0
HERE = "here"


@dataclass(frozen=True)
class DoctorResult:
    """The finding of each check, with the node that it is about."""

    findings: list[tuple[str, Finding]]

    @property
    def ok(self) -> bool:
        """Return whether no check failed."""
        return all(finding.status != "fail" for _, finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": self.ok, "findings": [{"node": node, **finding.to_json()} for node, finding in self.findings]}


def run(lookup: ModelLookup, *, address: str | None = None) -> DoctorResult:
    """Check this machine and, with an address, every node of the cluster.

    Args:
        lookup: The root of the runs, and their tracking server.
    """
    findings: list[tuple[str, Finding]] = []

    def add(node: str, *results: Finding) -> None:
        findings.extend((node, finding) for finding in results)

    local = inspect_node(lookup.root)
    add(HERE, *judge(local), *check_token(os.environ, joins=address is not None), check_listeners())
    add("root", *check_conditional_writes(lookup.root))
    try:
        from attn.tracking.mlflow_health import check_tracking

        add("tracking", *check_tracking(tracking_uri(lookup.tracking, lookup.root)))
    except AttnError as error:
        add("tracking", Finding("mlflow", "fail", str(error), "give tracking.uri=http://... of a server"))
    if address is not None:
        findings += _cluster(address, lookup.root, local)
    return DoctorResult(findings)


@dataclass(frozen=True)
class _Answer:
    """What a node said.

    Attributes:
        gpus: That Ray gives to runs there.
        skew: Seconds by which its clock is ahead, known to within `uncertainty`.
    """

    facts: Facts
    gpus: int
    skew: float
    uncertainty: float


def _cluster(address: str, root: str, local: Facts) -> list[tuple[str, Finding]]:
    findings: list[tuple[str, Finding]] = []
    try:
        with ray_session(address), probe_under(root) as (probe, content):
            findings.append(("cluster", _authentication()))
            findings.append(("cluster", _gpus()))
            answers = _ask(root, probe)
            for node, answer in answers.items():
                if isinstance(answer, Finding):
                    findings.append((node, answer))
                    continue
                own = judge(answer.facts, answer.gpus)
                own.append(judge_clock(node, answer.skew, answer.uncertainty))
                own.append(judge_probe(answer.facts, content, root))
                findings += [(node, finding) for finding in own]
            facts = {node: answer.facts for node, answer in answers.items() if isinstance(answer, _Answer)}
            if facts:
                findings.append(("cluster", judge_code(local, facts)))
            findings.append(("cluster", judge_equal({HERE: local, **facts})))
    except RunError as error:
        fix = "is it up (ray status), is its port open from here, and is the token right?"
        findings.append(("cluster", Finding("ray", "fail", str(error), fix)))
    return findings


def _ask(root: str, probe: str) -> dict[str, _Answer | Finding]:
    """Every node's answer, by its address; a finding if it gave none."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    answers: dict[str, _Answer | Finding] = {}
    deadline = time.monotonic() + NODE_SECONDS
    asked: dict[str, tuple[Any, Any, int]] = {}
    for node in ray.nodes():
        name = str(node["NodeManagerAddress"])
        name = name if name not in asked else f"{name} ({node['NodeID'][:6]})"
        if not node["Alive"]:
            answers[name] = Finding("ray", "warn", "the node is gone", "start it again, if it is wanted")
            continue
        pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": pinned, "max_retries": 0}
        task: Any = ray.remote(inspect_node).options(**options)
        gpus = int(node["Resources"].get("GPU", 0))
        asked[name] = task.remote(root, probe), ray.remote(_now).options(**options), gpus
    for name, (reference, clock, gpus) in asked.items():
        try:
            facts: Any = ray.get(reference, timeout=max(1.0, deadline - time.monotonic()))
            answers[name] = _Answer(facts, gpus, *_clock(clock))
        except GetTimeoutError:
            text = f"no answer in {NODE_SECONDS:.0f} s"
            answers[name] = Finding("ray", "fail", text, "look at its logs: ray logs cluster")
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            fix = "install attn and its pins on the node, or run it from the image"
            answers[name] = Finding("ray", "fail", f"a task does not run there: {reason}", fix)
    return answers


def _clock(clock: Any) -> tuple[float, float]:
    """Seconds by which a node's clock is ahead, and their uncertainty; of several tries the most certain."""
    import ray

    tries: list[tuple[float, float]] = []
    for _ in range(3):
        start = time.time()
        theirs: Any = ray.get(clock.remote(), timeout=NODE_SECONDS)
        end = time.time()
        tries.append((theirs - (start + end) / 2, (end - start) / 2))
    return min(tries, key=lambda one: one[1])


def _gpus() -> Finding:
    """What the cluster has, and what its autoscaler may start."""
    capacity = cluster_capacity()
    if capacity.unknown is not None:
        text = f"{capacity.gpus_in_words}; which machines it may start is not known: {capacity.unknown}"
        return Finding("gpus of the cluster", "warn", text, "set cluster.device=gpu for runs on machines to come")
    return Finding("gpus of the cluster", "ok", capacity.gpus_in_words)


def _authentication() -> Finding:
    """Check that the cluster asks for a token."""
    import requests
    from ray._private.worker import get_dashboard_url

    check, url = "cluster log-in", get_dashboard_url()
    fix = "start every node with RAY_AUTH_MODE=token and one token"
    try:
        mode = requests.get(f"http://{url}/api/authentication_mode", timeout=5).json()["authentication_mode"]
    except (requests.RequestException, ValueError, KeyError):
        return Finding(check, "ok", "its dashboard is not reached from here, so that its mode is not known")
    if mode == "token":
        return Finding(check, "ok", "the cluster asks for a token")
    return Finding(check, "fail", f"the cluster's mode is {mode}: whoever reaches its ports can run code on it", fix)


def _now() -> float:
    return time.time()
