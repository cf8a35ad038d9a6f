"""Classification from image-level labels. Shapes: B images, C classes."""

from __future__ import annotations

__all__ = ["multilabel_soft_margin"]

from torch import Tensor
from torch.nn import functional

from attn.maps.pairs import check_multi_hot


def multilabel_soft_margin(logits_BC: Tensor, multi_hot_BC: Tensor) -> Tensor:
    """Binary cross-entropy of each class's sigmoid, mean over classes and images (GAIN's L_cl).

    Raises:
        ValueError: If the shapes differ or the labels are not zeros and ones.
    """
    if logits_BC.ndim != 2 or logits_BC.shape != multi_hot_BC.shape:
        shapes = f"{tuple(logits_BC.shape)} and {tuple(multi_hot_BC.shape)}"
        raise ValueError(f"logits and labels must both have the shape (B, C), not {shapes}")
    check_multi_hot(multi_hot_BC)
    if logits_BC.numel() == 0:
        return logits_BC.sum()
    return functional.binary_cross_entropy_with_logits(logits_BC, multi_hot_BC.to(logits_BC.dtype))
