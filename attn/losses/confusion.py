"""Visual confusion: what a class and the class it is mistaken for both look at (ICASC, ICCV 2019).

Shapes: B images, C classes, N maps, h×w map.
"""

from __future__ import annotations

__all__ = ["attention_consistency", "confusing_class", "soft_iou", "target_mask"]

import math

import torch
from torch import Tensor

from attn.maps.class_maps import check_maps
from attn.maps.pairs import check_multi_hot


def target_mask(last_maps_Nhw: Tensor, *, scale: float = 100.0, fraction: float = 0.55) -> Tensor:
    """Where the target is: sigmoid(ω (A − σ)), σ a fraction of each map's own maximum (ICASC eq. 7).

    The scale ω works on the maps as they are: for maps that a network's gradients weigh, whose size is anything,
    divide them by their maxima first.

    Args:
        last_maps_Nhw: The target's maps at the last layer.
        scale: ω, how sharply the mask cuts; positive.
        fraction: Of the maximum, in [0, 1].

    Returns:
        (N, h, w) in [0, 1].

    Raises:
        ValueError: If a shape, dtype or range does not fit.
    """
    check_maps(last_maps_Nhw)
    if not (0 < scale < math.inf and 0 <= fraction <= 1):
        raise ValueError(f"scale must be positive and fraction in [0, 1], not {scale} and {fraction}")
    return torch.sigmoid(scale * (last_maps_Nhw - fraction * last_maps_Nhw.amax(dim=(1, 2), keepdim=True)))


def soft_iou(target_Nhw: Tensor, confusing_Nhw: Tensor, mask_Nhw: Tensor) -> Tensor:
    """How much of two maps lies at the same places of the target: 2 Σ min(A_T, A_conf)·Mask / Σ (A_T + A_conf).

    ICASC eq. 6; for each image by itself.

    Args:
        target_Nhw: Non-negative.
        confusing_Nhw: Non-negative.
        mask_Nhw: In [0, 1], at the maps' size.

    Returns:
        Mean over the maps, in [0, 1]; a pair of maps without a positive value counts with 0. 0 without any.

    Raises:
        ValueError: If a shape, dtype or range does not fit.
    """
    _check("target and confusing maps", (target_Nhw, confusing_Nhw), mask_Nhw)
    if len(target_Nhw) == 0:
        return (target_Nhw + confusing_Nhw).sum()
    shared_N = (torch.minimum(target_Nhw, confusing_Nhw) * mask_Nhw).sum(dim=(1, 2))
    return _share(2 * shared_N, (target_Nhw + confusing_Nhw).sum(dim=(1, 2))).mean()


def attention_consistency(inner_Nhw: Tensor, mask_Nhw: Tensor, *, alpha: float = 1.0) -> Tensor:
    """How much of the inner layer's attention lies outside the target: a − Σ A_in·Mask / Σ A_in (ICASC eq. 8).

    Args:
        inner_Nhw: The target's maps at the inner layer, non-negative.
        mask_Nhw: In [0, 1], at their size.
        alpha: The constant a, which changes no gradient; with 1 the loss lies in [0, 1].

    Returns:
        Mean over the maps; one without a positive value has no share in the mask and counts with a. 0 without any.

    Raises:
        ValueError: If a shape, dtype or range does not fit.
    """
    _check("inner maps", (inner_Nhw,), mask_Nhw)
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, not {alpha}")
    if len(inner_Nhw) == 0:
        return inner_Nhw.sum()
    return (alpha - _share((inner_Nhw * mask_Nhw).sum(dim=(1, 2)), inner_Nhw.sum(dim=(1, 2)))).mean()


def confusing_class(logits_BC: Tensor, multi_hot_BC: Tensor) -> Tensor:
    """The class that each image is most easily mistaken for: the highest score among the classes it does not have.

    Returns:
        int64 (B,).

    Raises:
        ValueError: If the shapes differ, the labels are not zeros and ones, or an image has every class.
    """
    if logits_BC.ndim != 2 or logits_BC.shape != multi_hot_BC.shape:
        shapes = f"{tuple(logits_BC.shape)} and {tuple(multi_hot_BC.shape)}"
        raise ValueError(f"logits and labels must both have the shape (B, C), not {shapes}")
    check_multi_hot(multi_hot_BC)
    present_BC = multi_hot_BC > 0
    if bool((full := present_BC.all(dim=1)).any()):
        rows = full.nonzero().flatten().tolist()
        raise ValueError(f"images {rows} have all {logits_BC.shape[1]} classes: there is none to mistake them for")
    # A score of -inf must not tie with the classes that are left out.
    scores_BC = logits_BC.detach().clamp(min=torch.finfo(logits_BC.dtype).min)
    return scores_BC.masked_fill(present_BC, -math.inf).argmax(dim=1)


def _share(part_N: Tensor, whole_N: Tensor) -> Tensor:
    """part / whole; 0, without a gradient, where the whole is 0 or too small for its inverse to be a number."""
    there = whole_N.detach() >= torch.finfo(whole_N.dtype).tiny
    return torch.where(there, part_N, 0) / torch.where(there, whole_N, 1)


def _check(what: str, maps: tuple[Tensor, ...], mask_Nhw: Tensor) -> None:
    for maps_Nhw in maps:
        check_maps(maps_Nhw)
        if maps_Nhw.shape != mask_Nhw.shape or maps_Nhw.shape != maps[0].shape:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (*maps, mask_Nhw))
            raise ValueError(f"{what} and mask must have one shape (N, h, w), not {shapes}")
        if bool((maps_Nhw < 0).any()):
            raise ValueError(f"{what} must not be negative; the least value is {maps_Nhw.min().item()}")
    if bool(((mask_Nhw < 0) | (mask_Nhw > 1)).any()):
        low, high = mask_Nhw.min().item(), mask_Nhw.max().item()
        raise ValueError(f"the mask must lie in [0, 1]; it lies between {low} and {high}")
