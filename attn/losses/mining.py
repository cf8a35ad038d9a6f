"""Losses of guided attention inference: erasure, attention mining and extra supervision (GAIN: Li et al., CVPR 2018).

Shapes: B images, N (image, class) pairs, h×w map, H×W image.
"""

from __future__ import annotations

__all__ = ["attention_mining", "erase", "external_supervision", "soft_mask"]

import math

import torch
from torch import Tensor

from attn.maps.checks import or_nan, refuse
from attn.maps.pairs import check_pairs, columns


def soft_mask(maps: Tensor, *, scale: float, threshold: float) -> Tensor:
    """T(A) = sigmoid(ω (A − σ)) in (0, 1), for maps of any shape (GAIN eq. 4).

    Args:
        maps: A.
        scale: ω, positive.
        threshold: σ.

    Raises:
        ValueError: The maps are not floating, the scale is not positive and finite, or the threshold is not finite.
    """
    if not maps.is_floating_point():
        raise ValueError(f"maps must be floating-point numbers, not {maps.dtype}")
    if not (0 < scale < math.inf and math.isfinite(threshold)):
        raise ValueError(f"scale must be positive and threshold finite, not {scale} and {threshold}")
    return torch.sigmoid(scale * (maps - threshold))


def erase(images_BCHW: Tensor, masks_NHW: Tensor, pairs_N2: Tensor) -> Tensor:
    """I* = I − mask ⊙ I for each pair: the image with the class's attended region erased (GAIN eq. 3).

    Args:
        images_BCHW: Normalised network inputs, so that 0 is the data set's mean colour.
        masks_NHW: One mask per pair in [0, 1], at the size of the images.
        pairs_N2: int64 rows (image, class).

    Returns:
        (N, C, H, W), in the images' memory format.

    Raises:
        ValueError: The shapes or indices do not fit.
    """
    if images_BCHW.ndim != 4:
        raise ValueError(f"images must have the shape (B, C, H, W), not {tuple(images_BCHW.shape)}")
    check_pairs(pairs_N2, len(images_BCHW))
    expected = (len(pairs_N2), *images_BCHW.shape[2:])
    if masks_NHW.shape != expected:
        raise ValueError(f"masks must have the shape {expected}, one per pair, not {tuple(masks_NHW.shape)}")
    images_N, _ = columns(pairs_N2, images_BCHW.device)
    erased = images_BCHW[images_N] * (1 - masks_NHW)[:, None]
    channels_last = images_BCHW.is_contiguous(memory_format=torch.channels_last) and not images_BCHW.is_contiguous()
    return erased.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def attention_mining(scores_N: Tensor, pairs_N2: Tensor) -> Tensor:
    """L_am = (1/n) Σ_c s^c(I*^c): the scores of the present classes after erasing their attention (GAIN eq. 5).

    Args:
        scores_N: s^c(I*^c), the score of each pair's class for its own erased image.
        pairs_N2: int64 rows (image, class).

    Returns:
        Mean over the classes of an image, then over the images that have a class; 0 without pairs.

    Raises:
        ValueError: The shapes do not fit.
    """
    if scores_N.ndim != 1:
        raise ValueError(f"scores must have the shape (N,), not {tuple(scores_N.shape)}")
    return _mean_over_images(scores_N, pairs_N2)


def external_supervision(maps_Nhw: Tensor, targets_Nhw: Tensor, pairs_N2: Tensor) -> Tensor:
    """L_e = (1/n) Σ_c (A^c − H^c)²: squared difference between maps and given masks or boxes (GAIN eq. 7).

    Args:
        maps_Nhw: A, maps in [0, 1] of the pairs that have a mask or box.
        targets_Nhw: H, these masks or boxes in [0, 1], at the size of the maps.
        pairs_N2: int64 rows (image, class).

    Returns:
        Mean over pixels, over the classes of an image, then over the images with supervision; 0 without any.

    Raises:
        ValueError: The shapes do not fit, or a target is outside [0, 1].
    """
    if maps_Nhw.ndim != 3 or maps_Nhw.shape != targets_Nhw.shape:
        shapes = f"{tuple(maps_Nhw.shape)} and {tuple(targets_Nhw.shape)}"
        raise ValueError(f"maps and targets must both have the shape (N, h, w), not {shapes}")
    targets_Nhw = targets_Nhw.to(maps_Nhw.dtype)
    outside = refuse(
        ~((targets_Nhw >= 0) & (targets_Nhw <= 1)),
        lambda: f"targets must be in [0, 1]; they range from {targets_Nhw.min().item()} to {targets_Nhw.max().item()}",
    )
    loss = _mean_over_images((maps_Nhw - targets_Nhw).square().flatten(1).mean(dim=1), pairs_N2)
    return or_nan(loss, outside)


def _mean_over_images(values_N: Tensor, pairs_N2: Tensor) -> Tensor:
    check_pairs(pairs_N2)
    if len(values_N) != len(pairs_N2):
        raise ValueError(f"there are {len(values_N)} values for {len(pairs_N2)} pairs")
    if len(values_N) == 0:
        return values_N.sum()
    images, row, count = torch.unique(pairs_N2[:, 0], return_inverse=True, return_counts=True)
    return (values_N / count[row].to(values_N.device, non_blocking=True)).sum() / len(images)
