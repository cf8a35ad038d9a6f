"""Losses of segmentation from cues: SEC's seeding, expansion and boundary losses, and DSRG's balanced seeding.

SEC: Kolesnikov & Lampert, "Seed, Expand and Constrain" (ECCV 2016). DSRG: Huang et al., "Weakly-Supervised Semantic
Segmentation Network with Deep Seeded Region Growing" (CVPR 2018). Shapes: B images, C channels with the background
first, h×w output.
"""

from __future__ import annotations

__all__ = ["balanced_seeding", "boundary", "expansion", "floored_log_softmax", "seeding"]

import math

import torch
from torch import Tensor
from torch.nn import functional

from attn.maps.checks import or_nan, refuse
from attn.maps.pairs import check_multi_hot

PROBABILITY_FLOOR = 1e-4


def floored_log_softmax(logits_BChw: Tensor, *, floor: float = PROBABILITY_FLOOR) -> Tensor:
    """log((softmax + floor) / (1 + C·floor)), as in SEC's published code: no probability reaches 0 or 1.

    Raises:
        ValueError: The logits are not floating (B, C, h, w), or the floor is negative.
    """
    _check_maps(logits_BChw, "logits")
    if not floor >= 0:
        raise ValueError(f"the floor must not be negative, not {floor}")
    log_probs = functional.log_softmax(logits_BChw, dim=1)
    if floor == 0:
        return log_probs
    raised = torch.logaddexp(log_probs, log_probs.new_full((), math.log(floor)))
    return raised - math.log1p(logits_BChw.shape[1] * floor)


def seeding(log_probs_BChw: Tensor, cues_Bhw: Tensor, *, ignore: int = 255) -> Tensor:
    """L_seed: −log p of the cue's class, mean over an image's cues, then over images (SEC eq. 2).

    Args:
        cues_Bhw: Channel indices; `ignore` means no cue. An image without cues contributes 0.

    Raises:
        ValueError: The shapes do not fit, or a cue is not a channel.
    """
    loss_Bhw, cued_Bhw, invalid = _cue_losses(log_probs_BChw, cues_Bhw, ignore)
    return or_nan(_mean(_mean_where(loss_Bhw, cued_Bhw)), invalid)


def balanced_seeding(log_probs_BChw: Tensor, cues_Bhw: Tensor, *, ignore: int = 255) -> Tensor:
    """Seeding loss with separate means over background cues and over object cues (DSRG eq. 2).

    Args:
        cues_Bhw: Channel indices; `ignore` means no cue. A mean over no cues is 0.

    Returns:
        Sum of both means, mean over images.

    Raises:
        ValueError: The shapes do not fit, or a cue is not a channel.
    """
    loss_Bhw, cued_Bhw, invalid = _cue_losses(log_probs_BChw, cues_Bhw, ignore)
    background_Bhw = cues_Bhw == 0
    sides = _mean_where(loss_Bhw, cued_Bhw & background_Bhw) + _mean_where(loss_Bhw, cued_Bhw & ~background_Bhw)
    return or_nan(_mean(sides), invalid)


def expansion(
    probs_BChw: Tensor, multi_hot_BC: Tensor, *, decay_present: float = 0.996, decay_background: float = 0.999
) -> Tensor:
    """L_expand: let present classes fill a reasonable part of the image and absent ones nothing (SEC eq. 3-6).

    Global weighted rank pooling G is the weighted mean of the sorted probabilities, where the j-th largest has the
    weight decay^j. The loss of an image is the sum of −log G averaged over the present classes, −log(1 − max) averaged
    over the absent classes, and −log G of the background.

    Args:
        probs_BChw: Probabilities in [0, 1].
        multi_hot_BC: Present classes: (B, C - 1) without the background, or (B, C) whose first column is ignored.
        decay_present: Decay of the present classes, in (0, 1]: 1 gives the mean, values near 0 the maximum.
        decay_background: Decay of the background, likewise.

    Returns:
        Mean over images; a term without classes is 0.

    Raises:
        ValueError: The shapes do not fit, or a probability or decay is out of range.
    """
    _check_maps(probs_BChw, "probabilities")
    outside = refuse(
        ~((probs_BChw >= 0) & (probs_BChw <= 1)),
        lambda: f"probabilities must be in [0, 1]; they range from {probs_BChw.min()} to {probs_BChw.max()}",
    )
    for decay in (decay_present, decay_background):
        if not 0 < decay <= 1:
            raise ValueError(f"a decay must be in (0, 1], not {decay}")
    present_BC, wrong = _foreground(multi_hot_BC, probs_BChw)
    probs_BCn = probs_BChw.flatten(2)
    tiny = torch.finfo(probs_BChw.dtype).tiny
    log_pooled_BC = _rank_pooling(probs_BCn[:, 1:], decay_present).clamp_min(tiny).log()
    log_free_BC = (1 - probs_BCn[:, 1:].amax(dim=2)).clamp_min(tiny).log()
    log_background_B = _rank_pooling(probs_BCn[:, 0], decay_background).clamp_min(tiny).log()
    loss_B = -_mean_where(log_pooled_BC, present_BC) - _mean_where(log_free_BC, ~present_BC) - log_background_B
    return or_nan(_mean(loss_B), outside, wrong)


def boundary(log_probs_BChw: Tensor, refined_probs_BChw: Tensor) -> Tensor:
    """L_constrain = KL(refined ‖ network), mean over pixels and images (SEC eq. 7).

    Args:
        log_probs_BChw: The network's log-probabilities.
        refined_probs_BChw: The network's probabilities after the CRF; a constant for the optimiser.

    Raises:
        ValueError: The shapes differ, or a refined probability is negative.
    """
    _check_maps(log_probs_BChw, "log-probabilities")
    if refined_probs_BChw.shape != log_probs_BChw.shape:
        shapes = f"{tuple(refined_probs_BChw.shape)}, not {tuple(log_probs_BChw.shape)}"
        raise ValueError(f"refined probabilities have the shape {shapes}")
    refined = refined_probs_BChw.detach().to(log_probs_BChw.dtype)
    negative = refuse(~(refined >= 0), lambda: f"a refined probability is {refined.min()}; none may be negative")
    divergence_Bhw = (torch.xlogy(refined, refined) - refined * log_probs_BChw).sum(dim=1)
    return or_nan(_mean(divergence_Bhw.flatten(1).mean(dim=1)), negative)


def _cue_losses(log_probs: Tensor, cues: Tensor, ignore: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """−log p of each pixel's cue (B, h, w), 0 without a cue; a mask of the pixels with one; what `refuse` returned."""
    _check_maps(log_probs, "log-probabilities")
    if cues.shape != (len(log_probs), *log_probs.shape[2:]):
        raise ValueError(f"cues have the shape {tuple(cues.shape)}, log-probabilities {tuple(log_probs.shape)}")
    if cues.is_floating_point() or cues.dtype == torch.bool:
        raise ValueError(f"cues must be integers, not {cues.dtype}")
    cues, cued = cues.long(), cues != ignore
    outside = cued & ((cues < 0) | (cues >= log_probs.shape[1]))
    invalid = refuse(outside, lambda: _not_channels(cues[cued], log_probs.shape[1], ignore))
    chosen = log_probs.gather(1, torch.where(cued & ~outside, cues, 0)[:, None])[:, 0]
    return torch.where(cued, -chosen, 0), cued, invalid


def _not_channels(cues: Tensor, channels: int, ignore: int) -> str:
    return f"cues must be in [0, {channels}) or {ignore}; they range from {int(cues.min())} to {int(cues.max())}"


def _rank_pooling(probs_n: Tensor, decay: float) -> Tensor:
    """Weighted mean over the last dimension; the j-th largest value has the weight decay^j."""
    ranks = torch.arange(probs_n.shape[-1], device=probs_n.device, dtype=torch.float64)
    weights = decay**ranks
    sorted_n = probs_n.sort(dim=-1, descending=True).values
    return (sorted_n * (weights / weights.sum()).to(probs_n.dtype)).sum(dim=-1)


def _foreground(multi_hot: Tensor, probs: Tensor) -> tuple[Tensor, Tensor | None]:
    images, channels = probs.shape[:2]
    wrong = check_multi_hot(multi_hot)
    if multi_hot.shape == (images, channels):
        multi_hot = multi_hot[:, 1:]
    if multi_hot.shape != (images, channels - 1):
        shape = tuple(multi_hot.shape)
        raise ValueError(f"labels must have the shape {(images, channels - 1)}, without the background, not {shape}")
    return multi_hot > 0, wrong


def _mean_where(values_B: Tensor, chosen_B: Tensor) -> Tensor:
    """Mean of each image's chosen values; 0 if there are none."""
    total = torch.where(chosen_B, values_B, 0).flatten(1).sum(dim=1)
    return total / chosen_B.flatten(1).sum(dim=1).clamp(min=1)


def _mean(values_B: Tensor) -> Tensor:
    return values_B.mean() if len(values_B) else values_B.sum()


def _check_maps(values: Tensor, what: str) -> None:
    if values.ndim != 4 or 0 in values.shape[1:] or not values.is_floating_point():
        given = f"{values.dtype} {tuple(values.shape)}"
        raise ValueError(f"{what} must be floating-point numbers of the shape (B, C, h, w), not {given}")
