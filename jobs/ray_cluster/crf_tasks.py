"""CRFs as tasks of a Ray cluster."""

from __future__ import annotations

__all__ = ["RayCrfPool"]

from collections.abc import Callable
from typing import Any

from jobs.ray_cluster.capacity import machines_up


class RayCrfPool:
    """Every core of the cluster, in a session that is up; see `attn.segmentation.crf_pool.CrfPool`."""

    def __init__(self) -> None:
        import ray

        self.size = max(1, sum(machine.cores for machine in machines_up()))
        self._task: Any = ray.remote(_call).options(num_cpus=1, scheduling_strategy="SPREAD")

    def submit(self, work: Callable[..., Any], *arguments: Any) -> _Task:
        return _Task(self._task.remote(work, *arguments))


class _Task:
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def result(self) -> Any:
        import ray

        return ray.get(self._reference)


def _call(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)
