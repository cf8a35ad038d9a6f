"""Attention maps from a class-aware convolution, and normalisation and resizing of maps.

Shapes: B images, N (image, class) pairs, C classes, h×w map, H×W image.
"""

from __future__ import annotations

__all__ = ["class_activation", "class_probability", "normalize_max", "upsample"]

import torch
from torch import Tensor
from torch.nn import functional

from attn.maps.pairs import check_pairs, columns


def class_activation(class_maps_BChw: Tensor, pairs_N2: Tensor) -> Tensor:
    """ReLU(F^c): the positive part of a class's channel (OAA eq. 2, without the division by the maximum).

    Args:
        class_maps_BChw: F, the output of the class-aware convolution.
        pairs_N2: Integer rows (image, class).

    Returns:
        (N, h, w), non-negative, in the order of the pairs.

    Raises:
        ValueError: A shape, dtype or index does not fit.
    """
    return _chosen(class_maps_BChw, pairs_N2).relu()


def class_probability(class_maps_BChw: Tensor, pairs_N2: Tensor) -> Tensor:
    """q = sigmoid(F̂^c): the probability that a position belongs to the class (OAA, section 3.3).

    Returns:
        (N, h, w) in [0, 1], in the order of the pairs.

    Raises:
        ValueError: A shape, dtype or index does not fit.
    """
    return _chosen(class_maps_BChw, pairs_N2).sigmoid()


def normalize_max(maps_Nhw: Tensor, *, constant_maximum: bool = False, in_place: bool = False) -> Tensor:
    """Divide each map by its own maximum (OAA eq. 2); a map that is zero everywhere stays zero.

    The gradient flows through the maximum too, unless its inverse is not finite.

    Args:
        maps_Nhw: Non-negative maps.
        constant_maximum: Treat the maximum as a constant, so that the gradient flows through the values only.
        in_place: Overwrite the given maps, which must have no gradient; saves memory for maps of large images.

    Returns:
        (N, h, w) in [0, 1].

    Raises:
        ValueError: The maps are not floating (N, h, w) with at least one position.
    """
    check_maps(maps_Nhw)
    peak_N11 = maps_Nhw.amax(dim=(1, 2), keepdim=True)
    if constant_maximum:
        peak_N11 = peak_N11.detach()
    if in_place:
        return maps_Nhw.div_(torch.where(peak_N11 > 0, peak_N11, 1))
    representable = peak_N11.detach() >= torch.finfo(maps_Nhw.dtype).tiny
    maps_Nhw = torch.where(representable, maps_Nhw, maps_Nhw.detach())
    peak_N11 = torch.where(representable, peak_N11, peak_N11.detach())
    return maps_Nhw / torch.where(peak_N11 > 0, peak_N11, 1)


def upsample(maps_Nhw: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps to (N, H, W): bilinear, `align_corners=False`.

    Raises:
        ValueError: The maps are not floating (N, h, w) with at least one position.
    """
    check_maps(maps_Nhw)
    if len(maps_Nhw) == 0:
        return maps_Nhw.new_zeros((0, *size))
    return functional.interpolate(maps_Nhw[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def check_maps(maps_Nhw: Tensor) -> None:
    """Raise ValueError unless the maps are floating (N, h, w) with at least one position."""
    if maps_Nhw.ndim != 3 or 0 in maps_Nhw.shape[1:]:
        raise ValueError(f"maps must have the shape (N, h, w), not {tuple(maps_Nhw.shape)}")
    if not maps_Nhw.is_floating_point():
        raise ValueError(f"maps must be floating-point numbers, not {maps_Nhw.dtype}")


def _chosen(class_maps_BChw: Tensor, pairs_N2: Tensor) -> Tensor:
    if class_maps_BChw.ndim != 4 or not class_maps_BChw.is_floating_point():
        given = f"{class_maps_BChw.dtype} {tuple(class_maps_BChw.shape)}"
        raise ValueError(f"class maps must be floating-point numbers of the shape (B, C, h, w), not {given}")
    check_pairs(pairs_N2, *class_maps_BChw.shape[:2])
    images, classes = columns(pairs_N2, class_maps_BChw.device)
    return class_maps_BChw[images, classes]
