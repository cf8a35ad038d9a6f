"""Selection and fusion of attention maps (OAA: Jiang et al., ICCV 2019, section 3.2).

Shapes: B images, C classes, N (image, class) pairs in the order of `pairs_of`. No function here has a gradient.
"""

from __future__ import annotations

__all__ = ["GateRule", "fuse_max", "fuse_mean", "gate"]

from typing import Literal

import torch
from torch import Tensor

from attn.maps.pairs import require_multi_hot

GateRule = Literal["strict", "top_k"]


def gate(probabilities_BC: Tensor, multi_hot_BC: Tensor, *, rule: GateRule = "strict") -> Tensor:
    """Decide for each present class whether its map is accumulated (OAA, section 3.2).

    Args:
        probabilities_BC: Probability of each class, in [0, 1].
        multi_hot_BC: The present classes of each image.
        rule: `strict` accepts a class that is more probable than every absent class (section 3.2). `top_k` accepts a
            class if fewer than k classes are more probable, k being the number of present classes (published code); it
            accepts more maps of images with several classes.

    Returns:
        bool (N,), in the order of `pairs_of(multi_hot_BC)`.

    Raises:
        ValueError: The shapes differ, the labels are not zeros and ones, or a probability is outside [0, 1].
    """
    if probabilities_BC.ndim != 2 or probabilities_BC.shape != multi_hot_BC.shape:
        shapes = f"{tuple(probabilities_BC.shape)} and {tuple(multi_hot_BC.shape)}"
        raise ValueError(f"probabilities and labels must both have the shape (B, C), not {shapes}")
    require_multi_hot(multi_hot_BC)
    if not bool(((probabilities_BC >= 0) & (probabilities_BC <= 1)).all()):
        low, high = probabilities_BC.min().item(), probabilities_BC.max().item()
        raise ValueError(f"probabilities must be in [0, 1]; they range from {low} to {high}")
    present_BC = multi_hot_BC > 0
    if probabilities_BC.numel() == 0:
        return present_BC[present_BC]
    if rule == "strict":
        highest_absent_B1 = probabilities_BC.masked_fill(present_BC, -1).amax(dim=1, keepdim=True)
        accepted_BC = probabilities_BC > highest_absent_B1
    elif rule == "top_k":
        more_probable_BC = (probabilities_BC[:, None, :] > probabilities_BC[:, :, None]).sum(dim=2)
        accepted_BC = more_probable_BC < present_BC.sum(dim=1, keepdim=True)
    else:
        raise ValueError(f"rule must be strict or top_k, not {rule!r}")
    return accepted_BC[present_BC]


def fuse_max(cumulative: Tensor, new: Tensor) -> Tensor:
    """M_t = max(M_{t−1}, A_t) at each position (OAA eq. 5).

    The operation is commutative, associative and idempotent.

    Args:
        cumulative: M_{t−1}, uint8 or floating, of any shape.
        new: A_t, of the same shape and dtype.

    Raises:
        ValueError: Shapes or dtypes differ, or a floating value is not finite (a NaN would never disappear).
    """
    _check(cumulative, new)
    return torch.maximum(cumulative, new)


def fuse_mean(cumulative: Tensor, new: Tensor, t: int | Tensor) -> Tensor:
    """M_t = ((t − 1) M_{t−1} + A_t) / t, the mean of all maps so far (OAA eq. 10).

    uint8 results are rounded, halves to even.

    Args:
        cumulative: M_{t−1}, the mean of the first t − 1 maps; has no effect if t is 1.
        new: A_t, of the same shape and dtype.
        t: Number of the new map, from 1: one number, one per map along the first axis, or one per position. A number
            per position counts the maps that covered it, when maps are of crops.

    Raises:
        ValueError: Shapes or dtypes differ, a floating value is not finite, or a t is below 1.
    """
    _check(cumulative, new)
    counts = torch.as_tensor(t, device=new.device)
    shapes = (torch.Size(), new.shape[:1], new.shape)
    if counts.is_floating_point() or counts.shape not in shapes:
        given = f"{counts.dtype} {tuple(counts.shape)}"
        raise ValueError(f"t must be a whole number, or one for each map or each position, not {given}")
    if bool((counts < 1).any()):
        raise ValueError(f"t must be at least 1, not {counts.min().item()}")
    working = new.dtype if new.is_floating_point() else torch.float64
    if counts.ndim:
        counts = counts.reshape(counts.shape + (1,) * (new.ndim - counts.ndim))
    counts = counts.to(working)
    mean = ((counts - 1) * cumulative.to(working) + new.to(working)) / counts
    return mean if new.is_floating_point() else mean.round().to(new.dtype)


def _check(cumulative: Tensor, new: Tensor) -> None:
    if cumulative.shape != new.shape or cumulative.dtype != new.dtype:
        given = f"{cumulative.dtype} {tuple(cumulative.shape)} and {new.dtype} {tuple(new.shape)}"
        raise ValueError(f"cumulative and new maps must have one shape and dtype, not {given}")
    if new.dtype != torch.uint8 and not new.is_floating_point():
        raise ValueError(f"maps must be uint8 or floating-point numbers, not {new.dtype}")
    if new.is_floating_point() and not bool((cumulative.isfinite() & new.isfinite()).all()):
        raise ValueError("maps must be finite: a NaN or infinity would stay in the cumulative map")
