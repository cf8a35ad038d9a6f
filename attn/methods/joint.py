"""Means over the images of a batch that is split among workers."""

from __future__ import annotations

__all__ = ["joint_share"]

import torch
import torch.distributed as dist


def joint_share(count: int, device: torch.device) -> float:
    """The weight of this worker's mean, so that the average over workers is the mean over the whole batch.

    Gradients are averaged over workers. If their means are over different numbers of images, the average of the means
    is not the mean over the whole batch. This is a collective operation: all workers must call it.

    Args:
        count: Number of images in this worker's mean.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return 1.0
    total = torch.tensor([count], dtype=torch.int64, device=device)
    dist.all_reduce(total)
    return count * dist.get_world_size() / max(int(total), 1)
