"""Attention maps of each image's classes and of its most confusing class (ICASC, ICCV 2019).

Shapes: B images, N images with at least one present and one absent class, C classes, h×w map of each layer.
"""

from __future__ import annotations

__all__ = ["ConfusionMaps", "confusion_maps"]

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from attn.losses.confusion import highest_absent
from attn.maps.combined import GradientMapKind, combined_attention
from attn.maps.pairs import require_multi_hot
from attn.models.output import Output


@dataclass(frozen=True)
class ConfusionMaps:
    """Maps of targets and confusing classes, non-negative and not normalised.

    Attributes:
        rows: int64 (N,): indices of the images that have at least one present and one absent class.
        confusing: int64 (N,): the most confusing class of each of these images.
        target: By layer, (N, h, w): maps of the sum of the present classes' scores (class concurrence, ICASC section
            4.3). For an image with one class, this is the map of that class.
        other: By layer, (N, h, w): maps of the confusing class.
    """

    rows: Tensor
    confusing: Tensor
    target: dict[str, Tensor]
    other: dict[str, Tensor]


def confusion_maps(
    output: Output,
    multi_hot_BC: Tensor,
    *,
    kind: GradientMapKind,
    layers: Sequence[str],
    weight_gradient: bool = False,
) -> ConfusionMaps:
    """Compute the target map and the confusing map of each image at several layers, with at most two backward passes.

    Args:
        output: The network's output for B images.
        multi_hot_BC: The present classes of each image. On the host they spare it waiting for the network's device.
        kind: The kind of map.
        layers: Keys of `output.features`.
        weight_gradient: Keep the graph through the gradients: see `attn.maps.combined_attention`.

    Raises:
        ConfigError: The network does not expose a layer.
        ValueError: The labels are not zeros and ones of the scores' shape, or a graph is missing.
    """
    logits_BC = output.logits.detach()
    if logits_BC.shape != multi_hot_BC.shape:
        raise ValueError(f"labels must have the shape {tuple(logits_BC.shape)}, not {tuple(multi_hot_BC.shape)}")
    require_multi_hot(multi_hot_BC)
    present_BC = multi_hot_BC > 0
    rows = (present_BC.any(dim=1) & ~present_BC.all(dim=1)).nonzero()[:, 0]
    present_NC = present_BC[rows].to(logits_BC.device, non_blocking=True)
    rows = rows.to(logits_BC.device, non_blocking=True)
    confusing = highest_absent(logits_BC[rows], present_NC)
    sums_2BC = logits_BC.new_zeros((2, *logits_BC.shape))
    sums_2BC[0, rows] = present_NC.to(logits_BC.dtype)
    sums_2BC[1, rows, confusing] = 1
    maps = combined_attention(output, sums_2BC, kind=kind, layers=layers, weight_gradient=weight_gradient)
    if len(rows) < len(logits_BC):
        maps = {layer: value.index_select(1, rows) for layer, value in maps.items()}
    target, other = ({layer: value[index] for layer, value in maps.items()} for index in (0, 1))
    return ConfusionMaps(rows, confusing, target, other)
