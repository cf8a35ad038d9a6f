"""The map store's merges as Ray tasks."""

from __future__ import annotations

__all__ = ["ray_map"]

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ray_map(work: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
    """Like the built-in `map`, with each task where the cluster has room; a single one runs here.

    The training workers hold all CPUs while they wait for the merge: tasks ask for none, so that none waits for the
    other, and no more of them run at a time than there are CPUs. A task whose process dies is run again, which changes
    nothing.

    Raises:
        Exception: What a task raised.
    """
    if len(tasks) < 2:
        return [work(task) for task in tasks]
    import ray
    from ray.exceptions import RayTaskError

    remote: Any = ray.remote(work).options(num_cpus=0, scheduling_strategy="SPREAD", max_retries=3)
    room = max(1, int(ray.cluster_resources().get("CPU", 1)))
    results: dict[int, R] = {}
    running: dict[Any, int] = {}
    try:
        for number, task in enumerate(tasks):
            if len(running) == room:
                _collect(running, results)
            running[remote.remote(task)] = number
        while running:
            _collect(running, results)
    except RayTaskError as error:
        raise error.cause from None
    return [results[number] for number in range(len(tasks))]


def _collect(running: dict[Any, int], results: dict[int, R]) -> None:
    import ray

    (done,), _ = ray.wait(list(running), num_returns=1)
    results[running.pop(done)] = ray.get(done)
