"""The machines that a cluster has and can have, and how many workers they hold."""

from __future__ import annotations

__all__ = ["Capacity", "Machine", "cluster_capacity", "machines_to_come", "machines_up", "places"]

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attn.wording import counted
from jobs.ray_cluster.autoscaler import HEAD, Autoscaler, NodeTypesUnknown, find_autoscaler

ROUNDING = 1e-9
"""0.1 GPUs fit ten times into one."""


@dataclass(frozen=True, order=True)
class Machine:
    """What Ray may give of a machine."""

    gpus: int
    cores: int


@dataclass(frozen=True)
class Capacity:
    """Machines of a cluster.

    Attributes:
        up: Those that are up, the head included.
        to_come: Those that the autoscaler may start besides, with GPUs first.
        for_cpus: Those that it may start for work on CPUs, where its limit makes others of them.
        autoscaled: Whether there is an autoscaler: the cluster can have no machines that it does not name.
        unknown: Why it is not known what the autoscaler may start.
    """

    up: tuple[Machine, ...]
    to_come: tuple[Machine, ...] = ()
    for_cpus: tuple[Machine, ...] | None = None
    autoscaled: bool = False
    unknown: str | None = None

    @property
    def machines(self) -> tuple[Machine, ...]:
        return self.up + self.to_come

    def machines_for(self, workers: int, gpus: float) -> tuple[Machine, ...]:
        """The machines that workers are planned for; on CPUs none with GPUs is started, where others hold them all."""
        if gpus:
            return self.machines
        to_come = self.to_come if self.for_cpus is None else self.for_cpus
        without = self.up + tuple(machine for machine in to_come if not machine.gpus)
        return without if places(without, 1, 0) >= workers else self.up + to_come

    @property
    def gpus_in_words(self) -> str:
        """How many GPUs there are, and how many machines with others may be started."""
        there, more = (sum(machine.gpus for machine in machines) for machines in (self.up, self.to_come))
        if not there and not more:
            return "the cluster has no GPU" + ("" if self.unknown else ", and may start no machine with one")
        to_come = f" and may start machines with {more} more" if more else ""
        return f"the cluster has {counted(there, 'GPU')}{to_come}"


def places(machines: Iterable[Machine], cores: int, gpus: float) -> int:
    """How many workers of so many cores and GPUs the machines hold."""
    return sum(_places(machine, cores, gpus) for machine in machines)


def _places(machine: Machine, cores: int, gpus: float) -> int:
    rooms = []
    if cores:
        rooms.append(machine.cores // cores)
    if gpus:
        # Ray takes a part of a GPU from one GPU alone.
        rooms.append(machine.gpus * int(1 / gpus + ROUNDING) if gpus < 1 else int(machine.gpus / gpus + ROUNDING))
    return min(rooms)


def machines_to_come(
    autoscaler: Autoscaler, workers_up: Sequence[Machine], *, gpus_first: bool = True
) -> tuple[Machine, ...]:
    """The machines that the autoscaler may start, where not all types fit its limit those that are asked for first.

    Args:
        workers_up: Machines that are up, without the head: they count as of the type that has the same resources.
        gpus_first: Those with most GPUs; else those with most cores of the ones that have none.
    """
    up = Counter(workers_up)
    left = max(0, autoscaler.most - len(workers_up))
    result: list[Machine] = []
    sign = 1 if gpus_first else -1
    for node_type in sorted(autoscaler.types, key=lambda one: (sign * one.gpus, one.cores), reverse=True):
        machine = Machine(node_type.gpus, node_type.cores)
        there = min(up[machine], node_type.most)
        up[machine] -= there
        result += [machine] * min(node_type.most - there, left - len(result))
    return tuple(result)


def cluster_capacity() -> Capacity:
    """The machines of the Ray session that is up, and those that its autoscaler may start; else this machine."""
    import sys

    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return Capacity((_this_machine(),))
    up, workers = machines_up(), machines_up(head=False)
    try:
        autoscaler = find_autoscaler()
    except NodeTypesUnknown as error:
        return Capacity(up, unknown=str(error))
    if autoscaler is None:
        return Capacity(up)
    by_gpus, by_cores = (machines_to_come(autoscaler, workers, gpus_first=first) for first in (True, False))
    return Capacity(up, by_gpus, by_cores, autoscaled=True)


def machines_up(*, head: bool = True) -> tuple[Machine, ...]:
    """The machines of the Ray session that are up."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(_machine(resources) for resources in alive if head or HEAD not in resources)


def _machine(resources: dict[str, float]) -> Machine:
    return Machine(int(resources.get("GPU", 0)), int(resources.get("CPU", 0)))


def _this_machine() -> Machine:
    import torch

    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(torch.cuda.device_count(), len(affinity(0)) if affinity else os.cpu_count() or 1)
