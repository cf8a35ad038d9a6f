"""A pool of processes does each item once, in order, whatever becomes of its processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from attn.errors import DataError, RunError
from jobs.ray_cluster.worker_pool import worker_pool

ITEMS = 6


@dataclass(frozen=True)
class Item:
    positions: range


@dataclass(frozen=True)
class Job:
    """What ends a process at its second item: nothing, its first owner's death, each owner's, or a fault."""

    folder: Path
    ends: str = ""


class Doubling:
    """Doubles positions, and leaves a file for each process that was opened."""

    def __init__(self, job: Job) -> None:
        self.job = job
        if job.ends == "start":
            os.kill(os.getpid(), signal.SIGKILL)
        with (job.folder / "opened").open("a") as stream:
            stream.write(f"{os.getpid()}\n")

    def __call__(self, item: Item, report: Callable[[int], None]) -> list[int]:
        if 2 in item.positions:
            self._end()
        report(len(item.positions))
        return [2 * position for position in item.positions]

    def _end(self) -> None:
        if self.job.ends == "fault":
            raise DataError("image 'x' is broken")
        mark = self.job.folder / "died"
        if self.job.ends == "always" or (self.job.ends == "once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def done(job: Job, *, tasks: int | None) -> tuple[list[list[int]], list[int]]:
    """The results of items of two positions each, in two rounds, and what was reported in the second one."""
    items = [Item(range(start, start + 2)) for start in range(0, 2 * ITEMS, 2)]
    reports: list[int] = []
    with worker_pool(Doubling, job, address=None, tasks=tasks, gpu=False) as pool:
        assert pool.on_ray == (tasks is not None)
        first = list(pool.run(items, lambda _: None))
        assert list(pool.run(items[:2], reports.append)) == first[:2]
    return first, reports


@pytest.mark.parametrize("tasks", [None, 2])
@pytest.mark.parametrize("ends", ["", "once", "fault"])
def test_each_item_is_done_once_in_order(tasks: int | None, ends: str, tmp_path: Path, ray_up: None) -> None:
    if ends == "fault":
        with pytest.raises(DataError, match="image 'x' is broken"):
            done(Job(tmp_path, ends), tasks=tasks)
        return
    if ends and tasks is None:
        return  # nobody is left to tell of it
    results, reports = done(Job(tmp_path, ends), tasks=tasks)
    assert results == [[4 * number, 4 * number + 2] for number in range(ITEMS)]
    assert reports == sorted(reports)
    assert reports[-1] == 4
    opened = (tmp_path / "opened").read_text().split()
    assert len(opened) == len(set(opened)), "each process opens its model once"
    assert 1 <= len(opened) <= (tasks or 1) + (ends == "once")


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("always", "4 processes died at images 2 to 3 of the data .*memory"),
        ("start", "4 processes in succession died before they were ready"),
    ],
)
def test_what_ends_every_process_is_told(ends: str, message: str, tmp_path: Path, ray_up: None) -> None:
    with pytest.raises(RunError, match=message):
        done(Job(tmp_path, ends), tasks=2)
