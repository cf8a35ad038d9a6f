"""Work on many images by a pool of processes: each opens a model once, then is given some of the images at a time.

The pool is this process alone, or actors of a Ray session on this machine or a cluster. An actor that dies with its
node is replaced, and what it was given is done again elsewhere.
"""

from __future__ import annotations

__all__ = ["MOST", "Report", "WorkItem", "WorkerPool", "is_alone", "worker_pool"]

import contextlib
import heapq
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from attn import progress
from attn.errors import RunError
from attn.training.allocator import keep_freed_memory
from jobs.ray_cluster.capacity import cluster_capacity, machines_up, places
from jobs.ray_cluster.progress import Channel
from jobs.ray_cluster.session import ray_session

MOST = 4096
"""Largest number of processes of a pool."""
REPORT_SECONDS = 1.0
"""Least time between two reports of a process."""
STAFF_SECONDS = 5.0
"""Time between two looks at how many processes the cluster holds."""
WAITING_SECONDS = 30.0
"""A pool that has no process for so long says what it waits for."""
AHEAD = 4
"""Results of so many items for each process may wait for an earlier one."""
MOST_DEATHS = 4
"""So many processes in succession may die of the same item, or before they are ready."""
Report = Callable[[int], None]


class WorkItem(Protocol):
    """Some of the images, by their positions in the data."""

    @property
    def positions(self) -> range: ...


J = TypeVar("J")
T = TypeVar("T", bound=WorkItem)
R = TypeVar("R")
T_contra = TypeVar("T_contra", bound=WorkItem, contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Worker(Protocol[T_contra, R_co]):
    """What a process of the pool does with its items, one after the other."""

    def __call__(self, item: T_contra, report: Report, /) -> R_co:
        """Do an item, which may have been begun by another process that died.

        Args:
            report: Called with the number of the item's images that are done.
        """
        ...


class WorkerPool(Protocol[T_contra, R_co]):
    """Processes that are ready for work.

    Attributes:
        on_ray: Whether they are actors of a Ray session.
    """

    @property
    def on_ray(self) -> bool: ...

    def run(self, items: Sequence[T_contra], report: Report) -> Iterator[R_co]:
        """Do items; may be called again with others.

        Args:
            report: Called with the number of images done so far, of all items.

        Returns:
            The result of each item once, in the items' order, as they become known. Few wait in this process.

        Raises:
            RunError: An item ends each process that it is given to, or no process becomes ready.
            Exception: What the worker raised.
        """
        ...


@contextlib.contextmanager
def worker_pool(
    open_worker: Callable[[J], Worker[T, R]],
    job: J,
    *,
    address: str | None,
    tasks: int | None,
    gpu: bool,
    helpers: int = 0,
) -> Iterator[WorkerPool[T, R]]:
    """Processes for the time of a job.

    Without an address and `tasks`, this process does the work. Else Ray's actors do it, each with a core, one for each
    of its helpers, and a GPU where there is one; machines without CPUs in Ray, such as a cluster's head, get none.

    Args:
        open_worker: Makes the worker from the job in each process, once; a function or class that can be pickled.
        job: Sent once to each machine.
        address: A Ray cluster, all of which is used: also machines that its autoscaler starts, or that join it.
        tasks: Largest number of processes.
        gpu: Use GPUs.
        helpers: Processes that each of the pool's has beside it, such as those that load its data.
    """
    if is_alone(address, tasks):
        yield _ThisProcess(open_worker, job)
        return
    with ray_session(address):
        pool: _Actors[Any, T, R] = _Actors(open_worker, job, tasks or MOST, gpu=gpu, cores=1 + helpers)
        try:
            yield pool
        finally:
            pool.close()


def is_alone(address: str | None, tasks: int | None) -> bool:
    """Whether a pool of this address and size is this process."""
    return address is None and (tasks or 1) == 1


class _ThisProcess(Generic[J, T, R]):
    on_ray = False

    def __init__(self, open_worker: Callable[[J], Worker[T, R]], job: J) -> None:
        self._open, self._job = open_worker, job

    @cached_property
    def _worker(self) -> Worker[T, R]:
        return self._open(self._job)

    def run(self, items: Sequence[T], report: Report) -> Iterator[R]:
        before = 0
        for item in items:
            yield self._worker(item, lambda images, before=before: report(before + images))
            before += len(item.positions)
            report(before)


@dataclass
class _Process:
    """An actor, and the number of the item that it does; None while it opens its model, or is asked for its life."""

    actor: Any
    item: int | None = None
    opened: bool = False


class _Actors(Generic[J, T, R]):
    on_ray = True

    def __init__(self, open_worker: Callable[[J], Worker[T, R]], job: J, most: int, *, gpu: bool, cores: int) -> None:
        import ray

        self._most, self._use_gpus = most, gpu
        self._cores = min(cores, max([1, *(machine.cores for machine in cluster_capacity().machines)]))
        self._channel = Channel(f"pool {secrets.token_hex(8)}")
        self._arguments = open_worker, ray.put(job), self._channel
        self._actor: Any = ray.remote(_Actor)
        self._working: dict[Any, _Process] = {}  # by the reference to what is waited for
        self._idle: list[_Process] = []
        self._looked, self._deaths_at_start, self._wanted = float("-inf"), 0, 1
        self._without_process = time.monotonic()

    def run(self, items: Sequence[T], report: Report) -> Iterator[R]:
        todo, results, deaths = list(range(len(items))), dict[int, R](), dict[int, int]()
        following, images_done, images = 0, 0, dict[int, int]()
        while following < len(items):
            self._start_processes(len(items) - following)
            while self._idle and todo and todo[0] < following + AHEAD * (len(self._working) + len(self._idle)):
                number = heapq.heappop(todo)
                self._give(number, items[number])
            for number, result in self._ended():
                images.pop(number, None)
                if isinstance(result, _Death):
                    deaths[number] = deaths.get(number, 0) + 1
                    _check_deaths(deaths[number], result, items[number])
                    heapq.heappush(todo, number)
                else:
                    results[number] = result
                    images_done += len(items[number].positions)
            under_way = {process.item for process in self._working.values()}
            images |= {one["item"]: one["images"] for one in self._channel.take() if one["item"] in under_way}
            report(images_done + sum(images.values()))
            while following in results:
                yield results.pop(following)
                following += 1

    def close(self) -> None:
        """End the processes."""
        import ray

        for process in (*self._working.values(), *self._idle):
            ray.kill(process.actor)

    def _give(self, number: int, item: T) -> None:
        process = self._idle.pop()
        process.item = number
        self._working[process.actor.do.remote(item, number)] = process

    def _open(self, process: _Process) -> None:
        process.item = None
        self._working[process.actor.open.remote()] = process

    def _ended(self) -> Iterator[tuple[int, R | _Death]]:
        """Numbers of the items that are done, with their results, or whose process has died."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not self._working:
            time.sleep(REPORT_SECONDS)
            return
        ended, _ = ray.wait(list(self._working), num_returns=1, timeout=REPORT_SECONDS)
        for reference in ended:
            process = self._working.pop(reference)
            number = process.item
            try:
                result = ray.get(reference)
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                result = _Death(str(error).strip().partition("\n")[0])
                self._died(process, result)
            else:
                self._deaths_at_start = 0
                process.opened, process.item = True, None
                self._idle.append(process)
            if number is not None:
                yield number, result

    def _died(self, process: _Process, death: _Death) -> None:
        import ray

        ray.kill(process.actor)  # one that was only cut off would go on
        self._looked = float("-inf")
        if not process.opened:
            self._deaths_at_start += 1
            # A machine that is lost takes all of its processes along, which says nothing of the others.
            _check_deaths(self._deaths_at_start - self._wanted + 1, death)
        idle, self._idle = self._idle, []
        for other in idle:  # it may have died with the same machine
            self._open(other)

    def _start_processes(self, items: int) -> None:
        """Start as many processes as the cluster holds and the items need, as far as they are not there."""
        if time.monotonic() - self._looked < STAFF_SECONDS:
            return
        self._looked = time.monotonic()
        there = [*self._working.values(), *self._idle]
        gpus = 1 if self._use_gpus and _has_gpus() else 0
        most = min(items, self._most)
        wanted = min(most, max(1, places(cluster_capacity().machines_for(most, gpus), self._cores, gpus)))
        self._wanted = max(self._wanted, wanted)  # as many as may die with a machine
        options = {"num_cpus": self._cores, "num_gpus": gpus, "scheduling_strategy": "SPREAD"}
        for _ in range(wanted - len(there)):
            self._open(_Process(self._actor.options(**options).remote(*self._arguments)))
        if self._idle or any(process.item is not None for process in there):
            self._without_process = time.monotonic()
        elif time.monotonic() - self._without_process > WAITING_SECONDS:
            self._without_process = float("inf")
            progress.say(f"notice: waiting for room: {_lacking({'CPU': self._cores, 'GPU': gpus})}")


@dataclass(frozen=True)
class _Death:
    """A process that ended before it had done its item, or that cannot be reached."""

    reason: str


def _check_deaths(deaths: int, death: _Death, item: WorkItem | None = None) -> None:
    """Give up where processes die again and again.

    Args:
        deaths: How many in succession.
        item: Of which they died; None: they died before they were ready.

    Raises:
        RunError: They do.
    """
    if deaths < MOST_DEATHS:
        return
    if item is None:
        raise RunError(f"{deaths} processes in succession died before they were ready: {death.reason}")
    first, last = item.positions[0], item.positions[-1]
    raise RunError(
        f"{deaths} processes died at images {first} to {last} of the data (counted from 0): {death.reason}; if their "
        "memory was not enough, use a smaller batch_size or fewer tasks"
    )


def _lacking(each: dict[str, float]) -> str:
    """What one process needs, and what the cluster has of it, in words."""
    import ray

    from jobs.ray_cluster.room import room_text

    return room_text(1, each, ray.available_resources(), ray.cluster_resources())


class _Actor:
    """A process of the pool, in Ray."""

    def __init__(self, open_worker: Callable[[Any], Worker[Any, Any]], job: Any, channel: Channel) -> None:
        self._open, self._job, self._channel = open_worker, job, channel
        self._worker: Worker[Any, Any] | None = None

    def open(self) -> None:
        """Open the model, once; not in `__init__`, of which Ray would pass no exception on."""
        import torch

        if self._worker is not None:
            return

        keep_freed_memory()
        torch.set_num_threads(1)  # more threads than cores cost a factor of ten
        self._worker = self._open(self._job)

    def do(self, item: Any, number: int) -> Any:
        last = time.monotonic()

        def report(images: int) -> None:
            nonlocal last
            if time.monotonic() - last >= REPORT_SECONDS:
                last = time.monotonic()
                self._channel.put({"item": number, "images": images})

        assert self._worker is not None, "it was opened before"
        return self._worker(item, report)


def _has_gpus() -> bool:
    """Of the machines that are up, so that nothing waits; of those that may be started, where none of them works."""
    up = machines_up()
    machines = up if any(machine.cores for machine in up) else cluster_capacity().machines
    return any(machine.gpus for machine in machines)
