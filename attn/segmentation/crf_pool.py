"""The dense CRF of many images on many cores.

One thread computes the CRF of one image, so neither the number of processes nor the order of images changes a result.
The pool has processes instead of threads because the extension holds the interpreter lock.
"""

from __future__ import annotations

__all__ = ["CrfPool", "LocalCrfPool", "Refined", "refine", "refine_mask", "spare_cores"]

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.multiprocessing
from numpy.typing import NDArray

from attn.maps.dense_crf import CrfConfig, dense_crf
from attn.training.allocator import keep_freed_memory

T = TypeVar("T", covariant=True)

SHARED_MEMORY = Path("/dev/shm")
SHARED_BYTES = 1 << 18
"""Smaller arrays go through a pipe just as fast."""

Image = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Refined(Protocol[T]):
    """A result that may still be computed, such as a `concurrent.futures.Future`."""

    def result(self) -> T: ...


class CrfPool(Protocol):
    """Computes CRFs: in this process, in others on this machine, or on a cluster.

    Attributes:
        size: Number of images that are computed at the same time.
    """

    size: int

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Refined[Any]:
        """Begin a call of one of this module's functions."""
        ...


class LocalCrfPool:
    """A pool of processes on this machine; with none, the caller computes at once.

    They start with the first call, and end with the program or when the pool is closed.
    """

    def __init__(self, processes: int) -> None:
        if processes < 0:
            raise ValueError(f"a pool cannot have {processes} processes")
        self.size = max(1, processes)
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[..., T], *arguments: Any) -> Refined[T]:
        if self._processes == 0:
            done: Future[T] = Future()
            done.set_result(work(*arguments))
            return done
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, mp_context=_context(), initializer=_start)
        return self._pool.submit(_with_arrays, work, *map(_shared, arguments))

    def close(self) -> None:
        """End the processes; work that has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> LocalCrfPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}


def refine(image: Image, probs_CHW: Probabilities, parameters: CrfConfig) -> Probabilities:
    """See `dense_crf`."""
    return dense_crf(image, probs_CHW, parameters)


def refine_mask(image: Image, probs_CHW: Probabilities, parameters: CrfConfig) -> NDArray[np.uint8]:
    """The most probable channel after the CRF, (H, W)."""
    return dense_crf(image, probs_CHW, parameters).argmax(0).astype(np.uint8)


def spare_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _context() -> Any:
    # A fork copies locks that other threads (Ray's, CUDA's) hold, and then hangs.
    if sys.platform != "linux":
        return torch.multiprocessing.get_context("spawn")
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once, not by each process
    return context


def _start() -> None:
    """Use one thread: the pool has a process for each core."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    keep_freed_memory()


def _shared(argument: Any) -> Any:
    """Convert a large array to a tensor in shared memory, which another process receives without a copy."""
    if not isinstance(argument, np.ndarray) or argument.nbytes < SHARED_BYTES or not SHARED_MEMORY.is_dir():
        return argument
    space = os.statvfs(SHARED_MEMORY)  # a container often has little, and a process that writes beyond it is killed
    if space.f_bavail * space.f_frsize < 4 * argument.nbytes:
        return argument
    return torch.from_numpy(np.require(argument, requirements=["C", "W"])).share_memory_()


def _with_arrays(work: Callable[..., T], *arguments: Any) -> T:
    return work(*(one.numpy() if isinstance(one, torch.Tensor) else one for one in arguments))
