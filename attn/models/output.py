"""The output of a network. Shapes: B images, C classes, K channels, h×w feature map."""

from __future__ import annotations

__all__ = ["MapKind", "Output"]

from typing import Literal, NamedTuple

from torch import Tensor

MapKind = Literal["cam", "integral", "grad_cam", "channel", "pixel"]
"""Kinds of attention map: see `attn.maps.attention`."""


class Output(NamedTuple):
    """The output of one forward pass.

    Attributes:
        logits: (B, C), before sigmoid or softmax.
        features: Activations (B, K, h, w) by the name of the exposed layer; always contains `last`. They are part of
            the graph of `logits`.
        class_maps: (B, C, h, w): output of the class-aware convolution; None if the head has none.
        linear_weight: (C, K): weight of the linear layer, if only global average pooling and one linear layer follow
            `last`; the gradients of scores with respect to `last` are then known in closed form. Otherwise None.
    """

    logits: Tensor
    features: dict[str, Tensor]
    class_maps: Tensor | None = None
    linear_weight: Tensor | None = None
