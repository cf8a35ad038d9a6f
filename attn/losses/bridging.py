"""Attention constraint and domain-adversarial losses (AttnBN: Li et al., ICCV 2019).

Shapes: N source images, h×w map, B images of one domain. The discriminator's logits have any shape with images first.
Its output D is the probability that features come from the source. Equation 5 as printed does not separate the domains;
the meaning of D follows from equation 6, which fools D with −log D(F_t).
"""

from __future__ import annotations

__all__ = ["adversarial_loss", "attention_constraint", "discriminator_loss"]

from torch import Tensor
from torch.nn import functional

from attn.maps.checks import or_nan, refuse


def attention_constraint(maps_Nhw: Tensor, saliency_Nhw: Tensor) -> Tensor:
    """L_ac: squared difference between the map of an image's only class and its saliency map (AttnBN eq. 3).

    Args:
        maps_Nhw: Maps in [0, 1], each divided by its own maximum.
        saliency_Nhw: Saliency in [0, 1], at the size of the maps.

    Returns:
        Mean over pixels and images; 0 if N is 0.

    Raises:
        ValueError: The shapes differ, or the saliency is outside [0, 1].
    """
    if maps_Nhw.ndim != 3 or maps_Nhw.shape != saliency_Nhw.shape:
        shapes = f"{tuple(maps_Nhw.shape)} and {tuple(saliency_Nhw.shape)}"
        raise ValueError(f"maps and saliency must both have the shape (N, h, w), not {shapes}")
    if maps_Nhw.numel() == 0:
        return maps_Nhw.sum()
    invalid = refuse(
        ~((saliency_Nhw >= 0) & (saliency_Nhw <= 1)),
        lambda: (
            f"saliency must be in [0, 1]; it ranges from {saliency_Nhw.min().item()} to {saliency_Nhw.max().item()}"
        ),
    )
    return or_nan((maps_Nhw - saliency_Nhw.to(maps_Nhw.dtype)).square().mean(), invalid)


def discriminator_loss(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """L_d = −log D(F_s) − log(1 − D(F_t)), each a mean over images and positions (AttnBN eq. 5, corrected).

    The printed equation lacks the 1 − D of the second term.

    Args:
        source_logits: The discriminator's logits of source features that are detached from the classifier.
        target_logits: The same for target features.

    Returns:
        Scalar; 2 ln 2 if D cannot separate the domains.

    Raises:
        ValueError: An input is empty or not floating.
    """
    _check("source", source_logits)
    _check("target", target_logits)
    return functional.softplus(-source_logits).mean() + functional.softplus(target_logits).mean()


def adversarial_loss(target_logits: Tensor) -> Tensor:
    """L_adv = −log D(F_t), mean over images and positions: makes target features look like source ones (AttnBN eq. 6).

    Raises:
        ValueError: The input is empty or not floating.
    """
    _check("target", target_logits)
    return functional.softplus(-target_logits).mean()


def _check(domain: str, logits: Tensor) -> None:
    if logits.numel() == 0 or not logits.is_floating_point():
        given = f"{logits.dtype} {tuple(logits.shape)}"
        raise ValueError(f"the {domain} logits must be floating-point numbers, at least one, not {given}")
