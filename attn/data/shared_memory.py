"""Shared memory, through which a loader's processes hand over their batches: whether there is enough of it."""

from __future__ import annotations

__all__ = ["MORE", "PREFETCH", "check_shared_memory", "describe"]

import os
import shutil

from attn.errors import DataError

PLACE = "/dev/shm"
PREFETCH = 2
"""Batches that each process of a loader prepares ahead."""
MIB = 2**20
MORE = (
    "lower cluster.data_workers (of attn evaluate and maps: data_workers; 0 needs none) or the size of batches, or "
    "give the machine more: docker run --shm-size=4g, on Kubernetes an emptyDir of medium Memory at /dev/shm"
)


def check_shared_memory(images: int, size: int | tuple[int, int], workers: int, *, sharers: int = 1) -> None:
    """See, before anything is trained, that the batches that wait to be trained on fit.

    Args:
        images: Of a batch.
        size: Side, or (H, W), of an image.
        workers: Processes of a loader.
        sharers: How many such loaders this machine has.

    Raises:
        DataError: They do not.
    """
    if workers == 0 or not os.path.isdir(PLACE):
        return
    height, width = (size, size) if isinstance(size, int) else size
    needed = sharers * (workers * PREFETCH + 1) * images * 3 * height * width * 4
    free = shutil.disk_usage(PLACE).free
    if needed > free:
        raise DataError(
            f"cluster.data_workers={workers} would have up to {-(-needed // MIB)} MiB of images wait in {PLACE}, which "
            f"has {free // MIB} MiB free: {MORE}"
        )


def describe() -> str:
    """How much there is, for a message."""
    if not os.path.isdir(PLACE):
        return f"there is no {PLACE}"
    usage = shutil.disk_usage(PLACE)
    return f"{PLACE} has {usage.free // MIB} of {usage.total // MIB} MiB free"
