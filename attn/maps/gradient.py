"""Attention maps from the gradient of a class score with respect to a layer's activations.

Shapes: B images, N (image, class) pairs, C classes, K channels, h×w feature map.

Each backward pass starts at the scores with gradient 1 and ends at the layer; no parameter's `.grad` changes. Pairs of
different images share a pass, so the number of passes is the largest number of pairs of one image. If the network above
the layer mixes images (batch normalisation in training mode), the gradient is that of the sum of the scores in a pass.
"""

from __future__ import annotations

__all__ = ["channel_attention", "grad_cam", "pixel_attention"]

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from attn.maps.pairs import check_pairs, columns, ranks_of

Reduce = Callable[[Tensor], Tensor]


def grad_cam(scores_BC: Tensor, features_BKhw: Tensor, pairs_N2: Tensor, *, weight_gradient: bool = False) -> Tensor:
    """Grad-CAM: ReLU(Σ_k w_k f_k), where w_k is the mean over positions of ∂s^c/∂f_k (GAIN eq. 1-2).

    Args:
        scores_BC: Logits, computed from `features_BKhw` with a graph.
        features_BKhw: The layer's activations.
        pairs_N2: int64 rows (image, class), in any order; only their maps are computed. On the host they spare it
            waiting for the device of the scores.
        weight_gradient: Keep the graph through the weights w_k; otherwise they are constants for the optimiser.

    Returns:
        (N, h, w), non-negative, in the order of the pairs.

    Raises:
        ValueError: A shape, dtype or index does not fit, or the scores were computed without a graph.
    """
    weights = _score_gradients(scores_BC, features_BKhw, pairs_N2, _mean, weight_gradient)
    return weighted_sum(weights, features_BKhw, columns(pairs_N2, features_BKhw.device)[0])


def channel_attention(
    scores_BC: Tensor, features_BKhw: Tensor, pairs_N2: Tensor, *, weight_gradient: bool = False
) -> Tensor:
    """A_ch: as `grad_cam`, but w_k is the mean over positions of ReLU(∂s^c/∂f_k) (ICASC eq. 3-4)."""
    weights = _score_gradients(scores_BC, features_BKhw, pairs_N2, lambda grad: _mean(grad.relu()), weight_gradient)
    return weighted_sum(weights, features_BKhw, columns(pairs_N2, features_BKhw.device)[0])


def pixel_attention(
    scores_BC: Tensor, features_BKhw: Tensor, pairs_N2: Tensor, *, weight_gradient: bool = False
) -> Tensor:
    """A_px: ReLU((1/K) Σ_k ∂s^c/∂f_k ⊙ f_k), with the gradient of each position (ICASC eq. 5). Shapes as `grad_cam`."""
    gradients = _score_gradients(scores_BC, features_BKhw, pairs_N2, lambda grad: grad, weight_gradient)
    images_N, _ = columns(pairs_N2, features_BKhw.device)
    return (gradients * features_BKhw.index_select(0, images_N)).mean(dim=1).relu()


def weighted_sum(weights_NK: Tensor, features_BKhw: Tensor, images_N: Tensor) -> Tensor:
    """ReLU(Σ_k w_k f_k) for each pair, where f are the features of the pair's image."""
    features = features_BKhw.index_select(0, images_N)
    return torch.einsum("nk,nkhw->nhw", weights_NK, features).relu()


def check_features(features_BKhw: Tensor) -> None:
    """Raise ValueError unless the features are floating (B, K, h, w) with at least one position."""
    if features_BKhw.ndim != 4 or 0 in features_BKhw.shape[1:]:
        raise ValueError(f"features must have the shape (B, K, h, w), not {tuple(features_BKhw.shape)}")
    if not features_BKhw.is_floating_point():
        raise ValueError(f"features must be floating-point numbers, not {features_BKhw.dtype}")


def _mean(gradients_BKhw: Tensor) -> Tensor:
    return gradients_BKhw.mean(dim=(2, 3))


def _score_gradients(scores: Tensor, features: Tensor, pairs: Tensor, reduce: Reduce, keep_graph: bool) -> Tensor:
    """`reduce` applied to each pair's ∂s^c/∂f, one row per pair."""
    check_features(features)
    if scores.ndim != 2 or len(scores) != len(features):
        expected = f"({len(features)}, C), one row for each image of the features"
        raise ValueError(f"scores must have the shape {expected}, not {tuple(scores.shape)}")
    check_pairs(pairs, *scores.shape)
    if not (scores.requires_grad and features.requires_grad):
        raise ValueError(
            "scores and features must be in a graph: call the network with gradients enabled "
            f"(scores.requires_grad={scores.requires_grad}, features.requires_grad={features.requires_grad})"
        )
    if len(pairs) == 0:
        return reduce(features.new_zeros((0, *features.shape[1:])))
    ranks = ranks_of(pairs)
    gradients, order = [], []
    for rank in range(int(ranks.max()) + 1):
        rows = (ranks == rank).nonzero().squeeze(1)
        images, classes = columns(pairs[rows], scores.device)
        one_hot = torch.zeros_like(scores)
        one_hot[images, classes] = 1
        (result,) = torch.autograd.grad(
            scores, features, one_hot, retain_graph=True, create_graph=keep_graph, allow_unused=True
        )
        gradient = cast(Tensor | None, result)
        if gradient is None:
            raise ValueError("scores do not depend on these features: both must come from one forward pass")
        gradients.append(reduce(gradient).index_select(0, images))
        order.append(rows)
    joined = torch.cat(gradients)
    if len(order) == 1:
        return joined
    return joined.index_select(0, torch.argsort(torch.cat(order)).to(joined.device, non_blocking=True))
