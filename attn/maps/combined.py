"""Attention maps of weighted sums of class scores at several layers, with one backward pass for each sum.

Shapes: M sums, B images, C classes, K channels, h×w feature map (each layer has its own).
"""

from __future__ import annotations

__all__ = ["GradientMapKind", "combined_attention"]

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from attn.errors import ConfigError
from attn.maps.gradient import check_features
from attn.models.output import Output

GradientMapKind = Literal["grad_cam", "channel", "pixel"]
"""Kinds of map that weight a layer's features by the gradient of a score: see `attn.maps.attention`."""


def combined_attention(
    output: Output,
    sums_MBC: Tensor,
    *,
    kind: GradientMapKind,
    layers: Sequence[str],
    weight_gradient: bool = False,
) -> dict[str, Tensor]:
    """Attention maps of weighted sums of class scores, such as the sum over an image's classes (ICASC, section 4.3).

    A sum with a single factor of 1 gives the map of one class.

    Each backward pass ends at the lowest of the layers. If only average pooling and one linear layer follow `last`, the
    gradient there is known in closed form: the pass starts at `last`, and is omitted if no other layer is requested.

    Args:
        output: The network's output for B images.
        sums_MBC: The factor of each class score in each sum, for each image; constants.
        kind: The kind of map.
        layers: Keys of `output.features`.
        weight_gradient: Keep the graph through the gradients, so that maps also train the network above their layer.

    Returns:
        By layer, (M, B, h, w): non-negative, not normalised.

    Raises:
        ConfigError: The network does not expose a layer.
        ValueError: The sums do not fit the scores, or a gradient is needed and there is no graph.
    """
    features = {layer: _exposed(output, layer) for layer in layers}
    if sums_MBC.ndim != 3 or sums_MBC.shape[1:] != output.logits.shape:
        raise ValueError(f"sums must have the shape (M, *{tuple(output.logits.shape)}), not {tuple(sums_MBC.shape)}")
    maps: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for sum_BC in sums_MBC.detach().unbind():
        gradients = _gradients(output, sum_BC.to(output.logits.dtype), features, weight_gradient)
        for layer, gradient in gradients.items():
            maps[layer].append(_weigh(features[layer], gradient, kind))
    empty = {layer: f.new_zeros((0, len(f), *f.shape[2:])) for layer, f in features.items()}
    return {layer: torch.stack(item) if item else empty[layer] for layer, item in maps.items()}


def _exposed(output: Output, layer: str) -> Tensor:
    if layer not in output.features:
        raise ConfigError(f"the network does not expose the layer {layer!r}, only {', '.join(output.features)}")
    check_features(output.features[layer])
    return output.features[layer]


def _gradients(output: Output, sum_BC: Tensor, features: dict[str, Tensor], keep_graph: bool) -> dict[str, Tensor]:
    """∂(Σ_c factor·s^c)/∂f for each layer: (B, K, h, w), or (B, K, 1, 1) if it is equal at all positions."""
    results: dict[str, Tensor] = {}
    start, upstream = output.logits, sum_BC
    if output.linear_weight is not None:
        weight_CK = output.linear_weight if keep_graph else output.linear_weight.detach()
        start = output.features["last"]
        upstream = (sum_BC.to(weight_CK.dtype) @ weight_CK / (start.shape[2] * start.shape[3]))[:, :, None, None]
        if "last" in features:
            results["last"] = upstream
        upstream = upstream.to(start.dtype).expand_as(start)
    wanted = {layer: f for layer, f in features.items() if layer not in results}
    if not wanted:
        return results
    if not (start.requires_grad and all(f.requires_grad for f in wanted.values())):
        raise ValueError("scores and features must be in a graph: call the network with gradients enabled")
    reached = torch.autograd.grad(
        start, list(wanted.values()), upstream, retain_graph=True, create_graph=keep_graph, allow_unused=True
    )
    for layer, gradient in zip(wanted, reached, strict=True):
        if gradient is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise ValueError(f"scores do not depend on the features of {layer!r}: both must come from one forward pass")
        results[layer] = gradient
    return results


def _weigh(features: Tensor, gradient: Tensor, kind: GradientMapKind) -> Tensor:
    if kind == "pixel":
        return (gradient * features).mean(dim=1).relu()
    weight_BK = (gradient.relu() if kind == "channel" else gradient).mean(dim=(2, 3))
    return torch.einsum("bk,bkhw->bhw", weight_BK, features).relu()
