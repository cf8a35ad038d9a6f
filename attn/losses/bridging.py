"""Attention bridging: attention constraint and domain-adversarial losses (AttnBN, ICCV 2019).

Shapes: N source images, h×w map, B images of one domain. The discriminator's logits have any shape, images first; its
probability is that the features come from the source. Equation 5 as printed does not separate the domains;
equation 6, which fools D by −log D(F_t), settles what D means.
"""

from __future__ import annotations

__all__ = ["adversarial_loss", "attention_constraint", "discriminator_loss"]

from torch import Tensor
from torch.nn import functional


def attention_constraint(maps_Nhw: Tensor, saliency_Nhw: Tensor) -> Tensor:
    """Squared difference between the map of an image's only class and its saliency (AttnBN eq. 3).

    Args:
        maps_Nhw: Each divided by its own maximum, in [0, 1].
        saliency_Nhw: At the map's size, in [0, 1].

    Returns:
        Mean over pixels and images; 0 without any.

    Raises:
        ValueError: If the shapes differ, or the saliency lies outside [0, 1].
    """
    if maps_Nhw.ndim != 3 or maps_Nhw.shape != saliency_Nhw.shape:
        shapes = f"{tuple(maps_Nhw.shape)} and {tuple(saliency_Nhw.shape)}"
        raise ValueError(f"maps and saliency must both have the shape (N, h, w), not {shapes}")
    if maps_Nhw.numel() == 0:
        return maps_Nhw.sum()
    if not bool(((saliency_Nhw >= 0) & (saliency_Nhw <= 1)).all()):
        low, high = saliency_Nhw.min().item(), saliency_Nhw.max().item()
        raise ValueError(f"saliency must lie in [0, 1]; it lies between {low} and {high}")
    return (maps_Nhw - saliency_Nhw.to(maps_Nhw.dtype)).square().mean()


def discriminator_loss(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """−log D(F_s) − log(1 − D(F_t)), each a mean over images and positions (AttnBN eq. 5, with its 1 − D put back).

    Args:
        source_logits: Of the discriminator on source features, detached from the classifier; `target_logits` likewise.

    Returns:
        2 ln 2 where D cannot tell the domains apart.

    Raises:
        ValueError: If one of them is empty or does not hold floating-point numbers.
    """
    _check("source", source_logits)
    _check("target", target_logits)
    return functional.softplus(-source_logits).mean() + functional.softplus(target_logits).mean()


def adversarial_loss(target_logits: Tensor) -> Tensor:
    """−log D(F_t), mean over images and positions: the target's features are to pass for the source's (AttnBN eq. 6).

    Raises:
        ValueError: If there are no logits or they are not floating-point numbers.
    """
    _check("target", target_logits)
    return functional.softplus(-target_logits).mean()


def _check(domain: str, logits: Tensor) -> None:
    if logits.numel() == 0 or not logits.is_floating_point():
        given = f"{logits.dtype} {tuple(logits.shape)}"
        raise ValueError(f"the {domain} logits must be floating-point numbers, at least one, not {given}")
