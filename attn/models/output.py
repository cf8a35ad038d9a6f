"""What a network returns. Shapes: B images, C classes, K channels, h×w feature map."""

from __future__ import annotations

__all__ = ["MapKind", "Output"]

from typing import Literal, NamedTuple

from torch import Tensor

MapKind = Literal["cam", "integral", "grad_cam", "channel", "pixel"]
"""Ways to see a class in a network: see `attn.maps.attention`."""


class Output(NamedTuple):
    """One forward pass.

    Attributes:
        logits: (B, C), before sigmoid or softmax.
        features: Activations (B, K, h, w) of the named layers that the network was built to expose, `last` always
            among them; they are part of the graph of `logits`.
        class_maps: (B, C, h, w): the class-aware convolution's output, where the head has one.
        linear_weight: (C, K): weight of the linear layer, where everything after `last` is global average pooling
            and one linear layer; then gradients of scores with respect to `last` are known in closed form.
    """

    logits: Tensor
    features: dict[str, Tensor]
    class_maps: Tensor | None = None
    linear_weight: Tensor | None = None
