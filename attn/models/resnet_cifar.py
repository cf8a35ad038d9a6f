"""ResNet for images of 32×32 pixels (He et al., CVPR 2016, section 4.2): three stages of 16, 32 and 64 channels.

torchvision lacks it. A shortcut that changes size has no parameters (option A of the paper): it takes every second
position, and zeros for the new channels.
"""

from __future__ import annotations

__all__ = ["CifarResNet"]

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from attn.models.backbone import Architecture, Backbone, Stages, register

WIDTHS = (16, 32, 64)


class CifarResNet(Backbone):
    """ResNet of depth 6n + 2: a first convolution, n blocks of two convolutions per stage, and the classifier."""

    channels = WIDTHS[-1]
    inner = "stage2"

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"the depth must be 6n + 2, such as 20 or 110, not {depth}")
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        before = WIDTHS[0]
        for number, width in enumerate(WIDTHS, start=1):
            stage = [_Block(before, width, stride=1 if width == before else 2)]
            stage += [_Block(width, width, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> Stages:
        stages: Stages = {"stem": (self.conv1, self.bn1, nn.ReLU(inplace=True))}
        return stages | {f"stage{number}": (self.get_submodule(f"layer{number}"),) for number in (1, 2, 3)}


class _Block(nn.Module):
    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, width - before

    def forward(self, x_BKhw: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x_BKhw)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.stride > 1 or self.more:
            half = self.more // 2
            x_BKhw = functional.pad(x_BKhw[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.more - half))
        return functional.relu(out + x_BKhw, inplace=True)


def _build(stride: int, widths: tuple[int, ...] | None, *, depth: int) -> Backbone:
    return CifarResNet(depth)


register("resnet110_cifar", Architecture(build=partial(_build, depth=110), strides=(4,), weights=None))
