"""timm's SAME padding of strided convolutions and pools, in a form that `torch.export` can trace at any size.

Such a layer fills an input of x pixels so that ceil(x / stride) windows fit. timm writes this as a maximum with zero. A
trace cannot simplify that: after five strided layers the size is a formula of thousands of terms, and a trace takes
hours. Here the sum of the two sides is a constant, and only the first side depends on x. The last window may then end
before the last zeros, which changes no value.
"""

from __future__ import annotations

__all__ = ["pad_traceably"]

from functools import cache
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn
from torch.nn import functional

UNPADDED: dict[type[nn.Module], type[nn.Module]] = {
    Conv2dSame: nn.Conv2d,
    AvgPool2dSame: nn.AvgPool2d,
    MaxPool2dSame: nn.MaxPool2d,
    StdConv2dSame: StdConv2d,
    ScaledStdConv2dSame: ScaledStdConv2d,
}
"""timm's layers with SAME padding, and what each of them computes after it."""


def pad_traceably(net: nn.Module) -> None:
    """Give the layers of a network this padding while it is exported; otherwise they compute as before."""
    for module in net.modules():
        rounds_up = any(getattr(module, name, False) for name in ("ceil_mode", "return_indices"))  # timm mixes them up
        if type(module) in UNPADDED and getattr(module, "same_pad", True) and not rounds_up:
            module.__class__ = _traceable(type(module))


class _Traceable(nn.Module):
    unpadded: type[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return super().forward(x)
        layer: Any = self
        dilation = getattr(layer, "dilation", (1, 1))
        sides = [
            _padding(x.shape[axis], layer.kernel_size[axis], layer.stride[axis], dilation[axis]) for axis in (-1, -2)
        ]
        value = float("-inf") if isinstance(self, nn.MaxPool2d) else 0.0
        return self.unpadded.forward(self, functional.pad(x, (*sides[0], *sides[1]), value=value))


def _padding(pixels: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Pixels to fill before and after a side."""
    reach = (kernel - 1) * dilation  # what a window covers beyond its first pixel
    beyond = (pixels - 1) % stride
    before = (reach - (beyond if reach >= stride - 1 else min(beyond, reach))) // 2
    return before, reach - before


@cache
def _traceable(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (_Traceable, kind), {"unpadded": UNPADDED[kind]})
