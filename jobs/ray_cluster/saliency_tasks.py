"""The saliency maps of a whole data set, computed ahead: by a pool of Ray actors, or by threads of this process."""

from __future__ import annotations

__all__ = ["compute_saliency"]

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from attn import progress
from attn.errors import DataError
from attn.saliency.source import SaliencySource
from attn.segmentation.crf_pool import spare_cores
from jobs.ray_cluster.worker_pool import MOST, Report, worker_pool

CHUNK = 32
"""Images of one item, each about half a second of a core."""
MOST_THREADS = 16
"""Each holds about 100 MB of the network's values."""


@dataclass(frozen=True)
class _Chunk:
    positions: range


def compute_saliency(source: SaliencySource | None, address: str | None = None) -> SaliencySource | None:
    """Compute the maps that are kept and not there yet, and return the source.

    What is there already is not computed again, so that an interrupted job continues where it stopped.

    Args:
        source: None: there is nothing to do.
        address: A Ray cluster to join; without one, the Ray session of this process, if it has one.

    Raises:
        DataError: An image cannot be read, and the data does not skip such images.
        RunError: A map cannot be written.
    """
    if source is None or not source.cached:
        return source
    images = len(source.records)
    with progress.task("saliency", images, "images") as reported:
        if address is None and not _session_is_up():
            with ThreadPoolExecutor(min(spare_cores(), MOST_THREADS)) as pool:
                for _ in pool.map(lambda index: _compute(source, index), range(images)):
                    reported.advance()
            return source
        chunks = [_Chunk(range(start, min(start + CHUNK, images))) for start in range(0, images, CHUNK)]
        with worker_pool(_Computer, source, address=address, tasks=MOST, gpu=False) as pool:
            for _ in pool.run(chunks, reported.update):
                pass
    return source


def _session_is_up() -> bool:
    if "ray" not in sys.modules:
        return False
    import ray

    return ray.is_initialized()


class _Computer:
    def __init__(self, source: SaliencySource) -> None:
        self.source = source

    def __call__(self, chunk: _Chunk, report: Report) -> None:
        for done, index in enumerate(chunk.positions, start=1):
            _compute(self.source, index)
            report(done)


def _compute(source: SaliencySource, index: int) -> None:
    # An unreadable image is skipped, and told of, where its pixels are used.
    with contextlib.suppress(*((DataError,) if source.on_error == "skip" else ())):
        source.compute(index)
