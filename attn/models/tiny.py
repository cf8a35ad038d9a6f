"""A small plain network for generated scenes and tests: stages of two 3×3 convolutions, trained from scratch."""

from __future__ import annotations

__all__ = ["Tiny"]

from collections import OrderedDict

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register

WIDTHS = (16, 32, 64, 96)


class Tiny(Backbone):
    """One stage per width; the first stages halve the resolution until the output stride is reached."""

    def __init__(self, stride: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = widths[-1]
        self.inner = f"stage{len(widths) - 1}"
        before, total = 3, 1
        for number, width in enumerate(widths, start=1):
            step = 2 if total < stride else 1
            total *= step
            self.add_module(f"stage{number}", _stage(before, width, step))
            before = width

    def stages(self) -> Stages:
        return {name: (module,) for name, module in self.named_children()}


def _stage(before: int, width: int, stride: int) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (channels, step) in enumerate(((before, stride), (width, 1)), start=1):
        convolution = nn.Conv2d(channels, width, 3, stride=step, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers[f"conv{number}"] = convolution
        layers[f"norm{number}"] = nn.BatchNorm2d(width)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


register(
    "tiny",
    Architecture(
        build=lambda stride, widths: Tiny(stride, widths or WIDTHS),
        strides=(8, 4, 16),
        weights=None,
        has_widths=True,
    ),
)
