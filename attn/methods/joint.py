"""Means over the images of a batch that is split among workers."""

from __future__ import annotations

__all__ = ["joint_share"]

import torch
import torch.distributed as dist
from torch import Tensor


def joint_share(count: Tensor) -> Tensor:
    """The weight of this worker's mean, so that the average over workers is the mean over the whole batch.

    Gradients are averaged over workers. If their means are over different numbers of images, the average of the means
    is not the mean over the whole batch. This is a collective operation: all workers must call it.

    Args:
        count: int64 scalar: number of images in this worker's mean, on the device of the loss.

    Returns:
        float64 scalar on the same device, which the host does not wait for.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return torch.ones((), dtype=torch.float64, device=count.device)
    total = count.clone()
    dist.all_reduce(total)
    return count.double() * dist.get_world_size() / total.clamp(min=1)
