"""Losses of the integral attention model: cumulative attention maps are soft labels per position (OAA, section 3.3).

OAA: Jiang et al., ICCV 2019. Shapes: B images, C classes, h×w map. F̂ = `logits_BChw` is the class-aware convolution's
output, q = sigmoid(F̂) the probability that a position belongs to a class, and p = `soft_labels_BChw` the value of the
class's cumulative map there.
"""

from __future__ import annotations

__all__ = ["integral_cross_entropy", "integral_hybrid"]

from typing import Literal

from torch import Tensor
from torch.nn import functional

from attn.maps.checks import or_nan, refuse
from attn.maps.pairs import check_multi_hot

Absent = Literal["negative", "constrain", "ignore"]

POSITIVE = 0.001
"""Positions with p above this value count as attended, as in the published code; OAA eq. 7 and 8 say 0."""


def integral_cross_entropy(
    logits_BChw: Tensor, soft_labels_BChw: Tensor, multi_hot_BC: Tensor, *, absent: Absent = "negative"
) -> Tensor:
    """Binary cross-entropy of q against p (OAA eq. 6), the paper's baseline for `integral_hybrid`.

    Args:
        soft_labels_BChw: p in [0, 1]; values of absent classes are ignored.
        multi_hot_BC: The present classes of each image.
        absent: `negative`: mean over all positions of all classes, with p = 0 for absent ones (published code).
            `constrain`: sum over all classes of their means over positions. `ignore`: this sum over the present
            classes only, those that have cumulative maps.

    Returns:
        Mean over images.

    Raises:
        ValueError: The shapes differ, or labels are out of range.
    """
    p_BChw, present_BC, *invalid = _checked(logits_BChw, soft_labels_BChw, multi_hot_BC)
    loss_BChw = functional.binary_cross_entropy_with_logits(logits_BChw, p_BChw, reduction="none")
    if absent == "negative":
        return or_nan(_mean(loss_BChw.flatten(1).mean(dim=1)), *invalid)
    return or_nan(_mean(_sum_over_classes(loss_BChw.flatten(2).mean(dim=2), present_BC, absent)), *invalid)


def integral_hybrid(
    logits_BChw: Tensor, soft_labels_BChw: Tensor, multi_hot_BC: Tensor, *, absent: Absent = "negative"
) -> Tensor:
    """L₊ + L₋: enhance attended positions and constrain the others (OAA eq. 7-9).

    L₊ (OAA eq. 7) is the mean of −p log q over the attended positions, L₋ (OAA eq. 8) the mean of −log(1 − q) over the
    others. The mean over no positions is 0.

    Args:
        soft_labels_BChw: p in [0, 1]; values of absent classes are ignored.
        multi_hot_BC: The present classes of each image.
        absent: `negative`: L₊ and L₋ are means over the positions of all classes together, with p = 0 for absent ones
            (published code). `constrain`: sum over all classes of each one's L₊ + L₋ (OAA eq. 9 as printed). `ignore`:
            this sum over the present classes only, those that have cumulative maps.

    Returns:
        Mean over images.

    Raises:
        ValueError: The shapes differ, or labels are out of range.
    """
    p_BChw, present_BC, *invalid = _checked(logits_BChw, soft_labels_BChw, multi_hot_BC)
    attended_BChw = p_BChw > POSITIVE
    enhance_BChw = -p_BChw * functional.logsigmoid(logits_BChw)
    constrain_BChw = -functional.logsigmoid(-logits_BChw)
    pooled = 1 if absent == "negative" else 2
    loss = _mean_where(enhance_BChw, attended_BChw, pooled) + _mean_where(constrain_BChw, ~attended_BChw, pooled)
    loss_B = loss if absent == "negative" else _sum_over_classes(loss, present_BC, absent)
    return or_nan(_mean(loss_B), *invalid)


def _sum_over_classes(loss_BC: Tensor, present_BC: Tensor, absent: Absent) -> Tensor:
    return (loss_BC * present_BC if absent == "ignore" else loss_BC).sum(dim=1)


def _mean_where(values_BChw: Tensor, chosen_BChw: Tensor, from_dim: int) -> Tensor:
    """Mean of the chosen positions over the dimensions from `from_dim` on; 0 if there are none."""
    total = (values_BChw * chosen_BChw).flatten(from_dim).sum(dim=from_dim)
    return total / chosen_BChw.flatten(from_dim).sum(dim=from_dim).clamp(min=1)


def _mean(values_B: Tensor) -> Tensor:
    return values_B.mean() if len(values_B) else values_B.sum()


def _checked(
    logits: Tensor, soft_labels: Tensor, multi_hot: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Check the inputs.

    Returns:
        p (B, C, h, w), 0 for absent classes, and the labels (B, C), in the logits' dtype; then what `refuse` returned.
    """
    if logits.ndim != 4 or logits.shape != soft_labels.shape or 0 in logits.shape[1:]:
        shapes = f"{tuple(logits.shape)} and {tuple(soft_labels.shape)}"
        raise ValueError(f"logits and soft labels must both have the shape (B, C, h, w), not {shapes}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating-point numbers, not {logits.dtype}")
    if multi_hot.shape != logits.shape[:2]:
        raise ValueError(f"labels must have the shape {tuple(logits.shape[:2])}, not {tuple(multi_hot.shape)}")
    wrong = check_multi_hot(multi_hot)
    outside = refuse(
        ~((soft_labels >= 0) & (soft_labels <= 1)),
        lambda: f"soft labels must be in [0, 1]; they range from {soft_labels.min()} to {soft_labels.max()}",
    )
    present_BC = multi_hot.to(logits.dtype)
    return soft_labels.to(logits.dtype) * present_BC[..., None, None], present_BC, wrong, outside
