"""Losses of the integral attention model, per pixel, on cumulative attention maps as soft labels (OAA, ICCV 2019).

Shapes: B images, C classes, h×w map. F̂ = `logits_BChw` is the class-aware convolution's output, q = sigmoid(F̂) the
probability that a position belongs to a class, p = `soft_labels_BChw` the value of the class's cumulative map there.
"""

from __future__ import annotations

__all__ = ["integral_cross_entropy", "integral_hybrid"]

from typing import Literal

from torch import Tensor
from torch.nn import functional

from attn.maps.pairs import check_multi_hot

Absent = Literal["negative", "ignore"]

POSITIVE = 0.001
"""Above it a position counts as attended; the published code's figure, eq. 7 and 8 say 0."""


def integral_cross_entropy(
    logits_BChw: Tensor, soft_labels_BChw: Tensor, multi_hot_BC: Tensor, *, absent: Absent = "negative"
) -> Tensor:
    """Binary cross-entropy of q against p: the plain loss that the hybrid one is held against (OAA eq. 6).

    Args:
        soft_labels_BChw: In [0, 1]; those of absent classes are not read.
        multi_hot_BC: The image's classes.
        absent: `negative`: the mean over all positions of all classes, p being 0 for absent ones, as the published code
            pools. `ignore`: the sum over the present classes of each one's mean, as the paper's text has it.

    Returns:
        Mean over images.

    Raises:
        ValueError: If the shapes differ, or labels leave their range.
    """
    p_BChw, present_BC = _checked(logits_BChw, soft_labels_BChw, multi_hot_BC)
    loss_BChw = functional.binary_cross_entropy_with_logits(logits_BChw, p_BChw, reduction="none")
    if absent == "negative":
        return _mean(loss_BChw.flatten(1).mean(dim=1))
    return _mean((loss_BChw.flatten(2).mean(dim=2) * present_BC).sum(dim=1))


def integral_hybrid(
    logits_BChw: Tensor, soft_labels_BChw: Tensor, multi_hot_BC: Tensor, *, absent: Absent = "negative"
) -> Tensor:
    """Enhance what is attended, however weakly, and constrain what is not (OAA eq. 7-9).

    L₊, the mean over the attended positions of −p log q, pulls up and nothing there pulls down; L₋ is the mean over the
    others of −log(1 − q). A set without positions contributes 0.

    Args:
        soft_labels_BChw: In [0, 1]; those of absent classes are not read.
        multi_hot_BC: The image's classes.
        absent: `negative`: one L₊ and one L₋ an image, over the positions of all classes, absent ones being unattended
            everywhere, as in the published code. `ignore`: L₊ + L₋ of each present class, summed, as in eq. 9.

    Returns:
        Mean over images.

    Raises:
        ValueError: If the shapes differ, or labels leave their range.
    """
    p_BChw, present_BC = _checked(logits_BChw, soft_labels_BChw, multi_hot_BC)
    attended_BChw = p_BChw > POSITIVE
    enhance_BChw = -p_BChw * functional.logsigmoid(logits_BChw)
    constrain_BChw = -functional.logsigmoid(-logits_BChw)
    pooled = 1 if absent == "negative" else 2
    loss = _mean_where(enhance_BChw, attended_BChw, pooled) + _mean_where(constrain_BChw, ~attended_BChw, pooled)
    return _mean(loss if absent == "negative" else (loss * present_BC).sum(dim=1))


def _mean_where(values_BChw: Tensor, chosen_BChw: Tensor, from_dim: int) -> Tensor:
    """Mean of the chosen positions, over the dimensions from one on; 0 where there is none."""
    total = (values_BChw * chosen_BChw).flatten(from_dim).sum(dim=from_dim)
    return total / chosen_BChw.flatten(from_dim).sum(dim=from_dim).clamp(min=1)


def _mean(values_B: Tensor) -> Tensor:
    return values_B.mean() if len(values_B) else values_B.sum()


def _checked(logits: Tensor, soft_labels: Tensor, multi_hot: Tensor) -> tuple[Tensor, Tensor]:
    """p (B, C, h, w), 0 for absent classes, and the present classes (B, C), in the logits' dtype."""
    if logits.ndim != 4 or logits.shape != soft_labels.shape or 0 in logits.shape[1:]:
        shapes = f"{tuple(logits.shape)} and {tuple(soft_labels.shape)}"
        raise ValueError(f"logits and soft labels must both have the shape (B, C, h, w), not {shapes}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating-point numbers, not {logits.dtype}")
    if multi_hot.shape != logits.shape[:2]:
        raise ValueError(f"labels must have the shape {tuple(logits.shape[:2])}, not {tuple(multi_hot.shape)}")
    check_multi_hot(multi_hot)
    if soft_labels.numel() and not bool(((soft_labels >= 0) & (soft_labels <= 1)).all()):
        low, high = soft_labels.min().item(), soft_labels.max().item()
        raise ValueError(f"soft labels must lie in [0, 1]; they lie between {low} and {high}")
    present_BC = multi_hot.to(logits.dtype)
    return soft_labels.to(logits.dtype) * present_BC[..., None, None], present_BC
