"""Means over the images of a whole batch that several workers hold in parts."""

from __future__ import annotations

__all__ = ["joint_share"]

import torch
import torch.distributed as dist


def joint_share(count: int, device: torch.device) -> float:
    """The factor that turns this worker's mean into its share of the joint batch's mean.

    Workers' gradients are averaged. Where workers average over different numbers of images, the average of their means
    is not the mean of the joint batch; the average of means times this factor is. A collective: all workers call it.

    Args:
        count: How many images this worker's mean is over.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return 1.0
    total = torch.tensor([count], dtype=torch.int64, device=device)
    dist.all_reduce(total)
    return count * dist.get_world_size() / max(int(total), 1)
