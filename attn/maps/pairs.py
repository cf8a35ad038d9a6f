"""(image, class) pairs, which say which maps to compute. Shapes: B images, C classes, N pairs."""

from __future__ import annotations

__all__ = ["check_multi_hot", "check_pairs", "columns", "pairs_of", "ranks_of", "require_multi_hot"]

import torch
from torch import Tensor

from attn.maps.checks import refuse


def pairs_of(multi_hot_BC: Tensor) -> Tensor:
    """List the present classes of every image.

    Returns:
        int64 (N, 2): rows (image, class), ordered by image, then class.

    Raises:
        ValueError: The input is not a matrix of zeros and ones.
    """
    require_multi_hot(multi_hot_BC)
    return multi_hot_BC.nonzero()


def require_multi_hot(multi_hot_BC: Tensor) -> None:
    """Raise ValueError unless the labels are a (B, C) matrix of zeros and ones; waits for their device."""
    if (invalid := check_multi_hot(multi_hot_BC)) is not None and bool(invalid):
        raise ValueError(_not_multi_hot(multi_hot_BC))


def check_multi_hot(multi_hot_BC: Tensor) -> Tensor | None:
    """Raise ValueError unless the labels are a (B, C) matrix of zeros and ones; see `attn.maps.checks.refuse`."""
    if multi_hot_BC.ndim != 2:
        raise ValueError(f"multi-hot labels must have the shape (B, C), not {tuple(multi_hot_BC.shape)}")
    if multi_hot_BC.dtype == torch.bool:
        return None
    return refuse((multi_hot_BC != 0) & (multi_hot_BC != 1), lambda: _not_multi_hot(multi_hot_BC))


def _not_multi_hot(multi_hot_BC: Tensor) -> str:
    low, high = multi_hot_BC.min().item(), multi_hot_BC.max().item()
    return f"multi-hot labels must be 0 or 1; they range from {low} to {high}"


def columns(pairs_N2: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and the classes of pairs, int64 (N,) each, on a device."""
    images, classes = pairs_N2.to(device, non_blocking=True).unbind(dim=1)
    return images, classes


def check_pairs(pairs_N2: Tensor, images: int | None = None, classes: int | None = None) -> None:
    """Raise ValueError unless the pairs are int64 (N, 2) rows in [0, images) × [0, classes); None means no bound.

    Pairs on the host are checked without waiting for a device.
    """
    if pairs_N2.ndim != 2 or pairs_N2.shape[1] != 2:
        raise ValueError(f"pairs must have the shape (N, 2), not {tuple(pairs_N2.shape)}")
    if pairs_N2.dtype != torch.int64:
        raise ValueError(f"pairs must be int64, not {pairs_N2.dtype}")
    if len(pairs_N2) == 0:
        return
    low, high = (column.tolist() for column in torch.stack(pairs_N2.aminmax(dim=0)))
    for name, bound, least, most in zip(("image", "class"), (images, classes), low, high, strict=True):
        if least < 0 or (bound is not None and most >= bound):
            right = "below" if bound is None else f"in [0, {bound}), not"
            raise ValueError(f"the pairs' {name} must lie {right} {least} to {most}")


def ranks_of(pairs_N2: Tensor) -> Tensor:
    """Number the pairs of each image 0, 1, … in their order. Pairs of one rank can share a backward pass."""
    order = torch.argsort(pairs_N2[:, 0], stable=True)
    image = pairs_N2[order, 0]
    position = torch.arange(len(image), device=image.device)
    ranks = torch.empty_like(position)
    ranks[order] = position - torch.searchsorted(image.contiguous(), image.contiguous())
    return ranks
