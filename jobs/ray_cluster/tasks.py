"""One job as Ray tasks over its work items, with a progress bar."""

from __future__ import annotations

__all__ = ["Counter", "on_ray"]

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0


class WorkItem(Protocol):
    """Some of the images."""

    @property
    def positions(self) -> range: ...


J = TypeVar("J")
T = TypeVar("T", bound=WorkItem)
R = TypeVar("R")


class Counter:
    """Shows how many images are done, on standard error: a bar on a terminal, else a line every few seconds."""

    def __init__(self, what: str, total: int, console: Console | None = None) -> None:
        self.what, self.total = what, total
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task(what, total=total)
        self.last_line = time.monotonic()

    def __enter__(self) -> Counter:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def __call__(self, done: int) -> None:
        self.bar.update(self.task, completed=done)
        if not self.console.is_terminal and time.monotonic() - self.last_line >= LINE_SECONDS:
            self.last_line = time.monotonic()
            self.console.print(f"{self.what}: {done} of {self.total} images")


def on_ray(
    work: Callable[[J, T], R], job: J, items: Sequence[T], progress: Callable[[int], None], *, gpu: bool
) -> list[R]:
    """Do a job's work items as Ray tasks of one CPU each, one per GPU where there are any, in a session that is up.

    Args:
        job: Sent once to each machine.
        progress: Called with the number of images done so far, of all items.
        gpu: Use the cluster's GPUs.

    Returns:
        The result of each item, in order.

    Raises:
        Exception: What an item raised.
    """
    import ray
    from ray.exceptions import RayTaskError

    gpus = 1 if gpu and ray.cluster_resources().get("GPU", 0) else 0
    remote: Any = ray.remote(_single_threaded).options(num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")
    shared = ray.put(job)
    running = {remote.remote(work, shared, item): number for number, item in enumerate(items)}
    results: dict[int, R] = {}
    images = 0
    try:
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            number = running.pop(done)
            results[number] = ray.get(done)
            images += len(items[number].positions)
            progress(images)
    except RayTaskError as error:
        raise error.cause from None
    return [results[number] for number in range(len(items))]


def _single_threaded(work: Callable[[J, T], R], job: J, item: T) -> R:
    import torch

    torch.set_num_threads(1)  # more threads than cores cost a factor of ten
    return work(job, item)
