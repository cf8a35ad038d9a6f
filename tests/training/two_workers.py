"""Two processes that begin with PyTorch imported: one process imports it for all tests, and they are its forks."""

from __future__ import annotations

__all__ = ["run_two"]

from collections.abc import Callable
from typing import Any

from torch import multiprocessing

from tests.forks import forking

PRELOADED = ("attn.data.loader", "attn.training.trainer", "torch._dynamo")
"""The last is what `DistributedDataParallel` imports."""


def run_two(worker: Callable[..., None], *arguments: Any) -> None:
    """Call a module's function with a rank, 0 or 1, and the arguments, in a process each.

    Raises:
        ProcessException: One of them failed.
    """
    forking(*PRELOADED)
    multiprocessing.start_processes(worker, arguments, nprocs=2, start_method="forkserver")
