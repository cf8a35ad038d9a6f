"""Checks the images of a data set by a pool of processes."""

from __future__ import annotations

__all__ = ["SharedCheck"]

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from attn import progress
from attn.data.check import Checked, check_image
from attn.data.source import Source
from jobs.ray_cluster.worker_pool import Report, worker_pool

CHUNK = 64
"""Images that a process is given at a time."""


@dataclass(frozen=True)
class SharedCheck:
    """See `attn.data.check.CheckImages`.

    Attributes:
        address, tasks: As for `worker_pool`.
    """

    address: str | None
    tasks: int | None

    def __call__(self, source: Source, unnumbered: Collection[str]) -> Iterator[Checked]:
        images = len(source.records)
        chunks = [_Chunk(range(start, min(start + CHUNK, images))) for start in range(0, images, CHUNK)]
        with (
            progress.task("checking", images, "images") as reported,
            worker_pool(
                _Checker, (source, frozenset(unnumbered)), address=self.address, tasks=self.tasks, gpu=False
            ) as pool,
        ):
            for checked in pool.run(chunks, reported.update):
                yield from checked


@dataclass(frozen=True)
class _Chunk:
    positions: range


class _Checker:
    """A process of the pool."""

    def __init__(self, job: tuple[Source, frozenset[str]]) -> None:
        self.source, self.unnumbered = job

    def __call__(self, chunk: _Chunk, report: Report) -> list[Checked]:
        checked = list[Checked]()
        for position in chunk.positions:
            checked.append(check_image(self.source, position, self.unnumbered))
            report(len(checked))
        return checked
