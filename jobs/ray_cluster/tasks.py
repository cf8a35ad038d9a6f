"""One job as Ray tasks over its work items; the tasks report to the process that drives them."""

from __future__ import annotations

__all__ = ["on_ray"]

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from attn.training.allocator import keep_freed_memory
from jobs.ray_cluster.capacity import cluster_capacity, machines_up
from jobs.ray_cluster.progress import Channel

REPORT_SECONDS = 1.0
"""Least time between two reports of a task."""
Report = Callable[[int], None]


class WorkItem(Protocol):
    """Some of the images."""

    @property
    def positions(self) -> range: ...


J = TypeVar("J")
T = TypeVar("T", bound=WorkItem)
R = TypeVar("R")


Work = Callable[[J, T, Report], R]
"""Does an item of a job; calls its last argument with the number of its images that are done."""


def on_ray(
    work: Work[J, T, R],
    job: J,
    items: Sequence[T],
    progress: Report,
    *,
    gpu: bool,
    done: Callable[[R], None] | None = None,
) -> list[R]:
    """Do a job's work items as Ray tasks of one CPU each, in a session that is up; one per GPU where there are any.

    Args:
        job: Sent once to each machine.
        progress: Called with the number of images done so far, of all items.
        gpu: Use the cluster's GPUs.
        done: Called with each item's result as soon as it is there, in any order.

    Returns:
        The result of each item, in order.

    Raises:
        Exception: What an item raised.
    """
    import ray
    from ray.exceptions import RayTaskError

    gpus = 1 if gpu and _has_gpus() else 0
    remote: Any = ray.remote(_reporting).options(num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")
    shared, channel = ray.put(job), Channel(f"tasks {secrets.token_hex(8)}")
    running = {remote.remote(work, shared, item, channel, number): number for number, item in enumerate(items)}
    results: dict[int, R] = {}
    images = [0] * len(items)
    try:
        while running:
            ended, _ = ray.wait(list(running), num_returns=1, timeout=REPORT_SECONDS)
            for record in channel.take():
                images[record["item"]] = record["images"]
            for one in ended:
                number = running.pop(one)
                results[number] = ray.get(one)
                if done is not None:
                    done(results[number])
                images[number] = len(items[number].positions)
            progress(sum(images))
    except RayTaskError as error:
        raise error.cause from None
    return [results[number] for number in range(len(items))]


def _has_gpus() -> bool:
    """Of the machines that are up, so that nothing waits; of those that may be started, where none of them works."""
    up = machines_up()
    machines = up if any(machine.cores for machine in up) else cluster_capacity().machines
    return any(machine.gpus for machine in machines)


def _reporting(work: Work[J, T, R], job: J, item: T, channel: Channel, number: int) -> R:
    import torch

    keep_freed_memory()
    torch.set_num_threads(1)  # more threads than cores cost a factor of ten
    last = time.monotonic()

    def report(images: int) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            channel.put({"item": number, "images": images})

    return work(job, item, report)
