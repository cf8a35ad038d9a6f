"""Losses against visual confusion: overlap of the maps of a class and of its most confusing class.

ICASC: Wang et al., "Reducing Visual Confusion with Discriminative Attention" (ICCV 2019).

Shapes: B images, C classes, N maps, h×w map.
"""

from __future__ import annotations

__all__ = ["attention_consistency", "confusing_class", "highest_absent", "soft_iou", "target_mask"]

import math
from functools import partial

import torch
from torch import Tensor

from attn.maps.checks import or_nan, refuse
from attn.maps.class_maps import check_maps
from attn.maps.pairs import require_multi_hot


def target_mask(last_maps_Nhw: Tensor, *, scale: float = 100.0, fraction: float = 0.55) -> Tensor:
    """Mask of the target: sigmoid(ω (A − σ)), where σ is a fraction of each map's own maximum (ICASC eq. 7).

    ω applies to the values as given. Divide maps of arbitrary magnitude, such as gradient-weighted ones, by their
    maximum first.

    Args:
        last_maps_Nhw: The target's maps at the last layer.
        scale: ω, the steepness of the mask; positive.
        fraction: σ as a fraction of the maximum, in [0, 1].

    Returns:
        (N, h, w) in [0, 1].

    Raises:
        ValueError: A shape, dtype or range does not fit.
    """
    check_maps(last_maps_Nhw)
    if not (0 < scale < math.inf and 0 <= fraction <= 1):
        raise ValueError(f"scale must be positive and fraction in [0, 1], not {scale} and {fraction}")
    return torch.sigmoid(scale * (last_maps_Nhw - fraction * last_maps_Nhw.amax(dim=(1, 2), keepdim=True)))


def soft_iou(target_Nhw: Tensor, confusing_Nhw: Tensor, mask_Nhw: Tensor) -> Tensor:
    """sIoU = 2 Σ min(A_T, A_conf)·Mask / Σ (A_T + A_conf): overlap of two maps within the target (ICASC eq. 6).

    Args:
        target_Nhw: A_T, the target's maps; non-negative.
        confusing_Nhw: A_conf, the confusing class's maps; non-negative.
        mask_Nhw: Mask in [0, 1], at the size of the maps.

    Returns:
        Mean over N of each image's value, in [0, 1]. Two all-zero maps have the value 0; 0 if N is 0.

    Raises:
        ValueError: A shape, dtype or range does not fit.
    """
    invalid = _check("target and confusing maps", (target_Nhw, confusing_Nhw), mask_Nhw)
    if len(target_Nhw) == 0:
        return (target_Nhw + confusing_Nhw).sum()
    shared_N = (torch.minimum(target_Nhw, confusing_Nhw) * mask_Nhw).sum(dim=(1, 2))
    return or_nan(_share(2 * shared_N, (target_Nhw + confusing_Nhw).sum(dim=(1, 2))).mean(), *invalid)


def attention_consistency(inner_Nhw: Tensor, mask_Nhw: Tensor, *, alpha: float = 1.0) -> Tensor:
    """L_ac = a − Σ A_in·Mask / Σ A_in: with a = 1, the share of inner attention outside the target (ICASC eq. 8).

    Args:
        inner_Nhw: A_in, the target's maps at the inner layer; non-negative.
        mask_Nhw: Mask in [0, 1], at the size of the maps.
        alpha: The constant a, which changes no gradient; with 1 the loss is in [0, 1].

    Returns:
        Mean over N of each image's value. An all-zero map has the value a; 0 if N is 0.

    Raises:
        ValueError: A shape, dtype or range does not fit.
    """
    invalid = _check("inner maps", (inner_Nhw,), mask_Nhw)
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, not {alpha}")
    if len(inner_Nhw) == 0:
        return inner_Nhw.sum()
    inside_N = _share((inner_Nhw * mask_Nhw).sum(dim=(1, 2)), inner_Nhw.sum(dim=(1, 2)))
    return or_nan((alpha - inside_N).mean(), *invalid)


def confusing_class(logits_BC: Tensor, multi_hot_BC: Tensor) -> Tensor:
    """The most confusing class of each image: the absent class of the highest score (ICASC, section 3.2).

    Returns:
        int64 (B,).

    Raises:
        ValueError: The shapes differ, the labels are not zeros and ones, or an image has every class.
    """
    if logits_BC.ndim != 2 or logits_BC.shape != multi_hot_BC.shape:
        shapes = f"{tuple(logits_BC.shape)} and {tuple(multi_hot_BC.shape)}"
        raise ValueError(f"logits and labels must both have the shape (B, C), not {shapes}")
    require_multi_hot(multi_hot_BC)
    present_BC = multi_hot_BC > 0
    if bool((full := present_BC.all(dim=1)).any()):
        rows = full.nonzero().flatten().tolist()
        raise ValueError(f"images {rows} have all {logits_BC.shape[1]} classes, so no class can be the confusing one")
    return highest_absent(logits_BC, present_BC)


def highest_absent(logits_BC: Tensor, present_BC: Tensor) -> Tensor:
    """The absent class of the highest score, int64 (B,); every image must have one."""
    # A score of -inf must not tie with the excluded classes.
    scores_BC = logits_BC.detach().clamp(min=torch.finfo(logits_BC.dtype).min)
    return scores_BC.masked_fill(present_BC, -math.inf).argmax(dim=1)


def _share(part_N: Tensor, whole_N: Tensor) -> Tensor:
    """part / whole; 0 without gradient if the whole is 0 or so small that its inverse overflows."""
    there = whole_N.detach() >= torch.finfo(whole_N.dtype).tiny
    return torch.where(there, part_N, 0) / torch.where(there, whole_N, 1)


def _check(what: str, maps: tuple[Tensor, ...], mask_Nhw: Tensor) -> list[Tensor | None]:
    """Check the inputs; returns what `refuse` returned."""
    refused: list[Tensor | None] = []
    for maps_Nhw in maps:
        check_maps(maps_Nhw)
        if maps_Nhw.shape != mask_Nhw.shape or maps_Nhw.shape != maps[0].shape:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (*maps, mask_Nhw))
            raise ValueError(f"{what} and mask must have one shape (N, h, w), not {shapes}")
        least = partial(_least, what, maps_Nhw)
        refused.append(refuse(maps_Nhw < 0, least))
    refused.append(
        refuse(
            (mask_Nhw < 0) | (mask_Nhw > 1),
            lambda: f"the mask must be in [0, 1]; it ranges from {mask_Nhw.min().item()} to {mask_Nhw.max().item()}",
        )
    )
    return refused


def _least(what: str, maps_Nhw: Tensor) -> str:
    return f"{what} must not be negative; the smallest value is {maps_Nhw.min().item()}"
