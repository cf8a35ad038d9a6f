"""Attention maps of any kind from a network's output, computed in the cheapest exact way.

Shapes: N (image, class) pairs, C classes, K channels, h×w feature map.
"""

from __future__ import annotations

__all__ = ["MapKind", "attention"]


from torch import Tensor

from attn.errors import ConfigError
from attn.maps.class_maps import class_activation, class_probability
from attn.maps.gradient import channel_attention, check_features, grad_cam, pixel_attention, weighted_sum
from attn.maps.pairs import check_pairs, columns
from attn.models.output import MapKind, Output

BY_GRADIENT = {"grad_cam": grad_cam, "channel": channel_attention, "pixel": pixel_attention}


def attention(
    output: Output, pairs_N2: Tensor, *, kind: MapKind, layer: str = "last", weight_gradient: bool = False
) -> Tensor:
    """Compute the attention maps of (image, class) pairs.

    Kinds: `cam` is the positive part of the class-aware convolution's output (OAA eq. 2). `integral` is its sigmoid,
    which OAA+ trains as the probability of each position (OAA eq. 6-8). The others weight a layer's features by the
    gradient of the class score: `grad_cam` (GAIN eq. 1-2), `channel` (ICASC eq. 3-4), `pixel` (ICASC eq. 5).

    If only global average pooling and one linear layer follow the layer, ∂s^c/∂f_k is the classifier's weight divided
    by h·w. Then no backward pass runs and no graph is needed.

    Args:
        output: The network's output for B images.
        pairs_N2: int64 rows (image, class). On the host they spare it waiting for the network's device.
        kind: The kind of map.
        layer: A key of `output.features`.
        weight_gradient: Keep the graph through the weights of the map; otherwise they are constants for the optimiser.

    Returns:
        (N, h, w), non-negative, not normalised, in the order of the pairs.

    Raises:
        ConfigError: The network lacks what the kind of map needs.
        ValueError: The pairs do not fit the output, or a gradient is needed and there is no graph.
    """
    if layer not in output.features:
        raise ConfigError(f"the network does not expose the layer {layer!r}, only {', '.join(output.features)}")
    features, weight = output.features[layer], output.linear_weight if layer == "last" else None
    if output.class_maps is not None and layer == "last" and kind in ("cam", "integral"):
        read = class_activation if kind == "cam" else class_probability
        return read(output.class_maps, pairs_N2)
    if kind == "integral":
        raise ConfigError(
            "the map kind integral needs a class-aware convolution after the layer `last`, and this network has none "
            f"after {layer!r}: set model.head=conv and the layer to last, or choose another map kind"
        )
    if weight is not None:
        return _closed_form(features, weight if weight_gradient else weight.detach(), pairs_N2, kind)
    if kind == "cam":
        raise ConfigError(
            "the map kind cam needs a class-aware convolution or linear layer after the layer `last`, and this network "
            f"has none after {layer!r}: set model.head=conv and the layer to last, or the map kind to grad_cam"
        )
    return BY_GRADIENT[kind](output.logits, features, pairs_N2, weight_gradient=weight_gradient)


def _closed_form(features: Tensor, weight_CK: Tensor, pairs: Tensor, kind: MapKind) -> Tensor:
    check_features(features)
    check_pairs(pairs, len(features), len(weight_CK))
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    images, classes = columns(pairs, features.device)
    weight = weight_CK.index_select(0, classes).to(features.dtype)
    if kind == "channel":
        weight = weight.relu()
    divisor = {"cam": 1, "grad_cam": positions, "channel": positions, "pixel": positions * channels}[kind]
    return weighted_sum(weight / divisor, features, images)
