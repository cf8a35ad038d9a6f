"""Checks that there is enough shared memory, through which a loader's worker processes transfer batches."""

from __future__ import annotations

__all__ = ["HINT", "PREFETCH", "check_shared_memory", "describe_shared_memory", "loaders_that_fit"]

import os
import shutil

from attn.errors import DataError

DEVICE = "/dev/shm"
PREFETCH = 2
"""Number of batches that each worker process prepares ahead."""
MIB = 2**20
HINT = (
    "lower cluster.data_workers (of attn evaluate and maps: data_workers; 0 needs no shared memory) or the batch size, "
    "or give the container more: docker run --shm-size=4g, on Kubernetes an emptyDir of medium Memory at /dev/shm"
)


def check_shared_memory(images: int, size: int | tuple[int, int], workers: int, *, sharers: int = 1) -> None:
    """Check before training that all prefetched batches fit into shared memory.

    Args:
        images: Images per batch.
        size: Side or (H, W) of an image.
        workers: Worker processes of a loader.
        sharers: Number of such loaders on this machine.

    Raises:
        DataError: They do not fit.
    """
    if loaders_that_fit(images, size, workers, sharers=sharers) < workers:
        needed, free = _needed(images, size, workers, sharers), shutil.disk_usage(DEVICE).free
        raise DataError(
            f"cluster.data_workers={workers} needs up to {-(-needed // MIB)} MiB for images in {DEVICE}, which has "
            f"{free // MIB} MiB free: {HINT}"
        )


def loaders_that_fit(images: int, size: int | tuple[int, int], most: int, *, sharers: int = 1) -> int:
    """How many worker processes, at most `most`, have room for their batches; see `check_shared_memory`."""
    if most == 0 or not os.path.isdir(DEVICE):
        return most
    free = shutil.disk_usage(DEVICE).free
    return next((count for count in range(most, 0, -1) if _needed(images, size, count, sharers) <= free), 0)


def _needed(images: int, size: int | tuple[int, int], workers: int, sharers: int) -> int:
    """Bytes of shared memory."""
    height, width = (size, size) if isinstance(size, int) else size
    return sharers * (workers * PREFETCH + 1) * images * 3 * height * width * 4


def describe_shared_memory() -> str:
    """Size and free space of shared memory, for messages."""
    if not os.path.isdir(DEVICE):
        return f"there is no {DEVICE}"
    usage = shutil.disk_usage(DEVICE)
    return f"{DEVICE} has {usage.free // MIB} of {usage.total // MIB} MiB free"
