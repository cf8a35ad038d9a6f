"""MobileNetV2 (Sandler et al., CVPR 2018), from torchvision.

Its blocks end in a linear bottleneck, with features of both signs. So a stage ends at the activation of the expansion
that follows, in the first block of the next resolution; the last stage ends at the network's last convolution. Frozen
stages end before that block, so that a block is frozen or trained as a whole.
"""

from __future__ import annotations

__all__ = ["MobileNetV2"]

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register
from attn.models.dilation import remove_strides
from attn.models.stem import quick_gradient

HALVING = (2, 4, 7, 14)
"""Indices of the blocks in `features` that halve the resolution, after their expansion."""


class MobileNetV2(Backbone):
    channels = 1280
    inner = "stage4"

    def __init__(self, stride: int) -> None:
        import torchvision  # slow to import

        super().__init__()
        features = torchvision.models.mobilenet_v2(weights=None).features
        assert isinstance(features, nn.Sequential)
        first = features.get_submodule("0")
        assert isinstance(first, nn.Sequential)
        first[0] = quick_gradient(first[0])
        self.features = features
        stages, rate = self.stages(), 1
        if stride <= 8:
            rate = remove_strides(stages["stage4"], rate)
        if stride <= 16:
            remove_strides(stages["stage5"], rate)

    def stages(self) -> Stages:
        stages: list[list[nn.Module]] = [[]]
        for index, module in enumerate(self.features):
            if index in HALVING:
                expansion, *rest = module.get_submodule("conv").children()
                stages[-1].append(expansion)
                stages.append(rest)
            else:
                stages[-1].append(module)
        return {f"stage{number}": tuple(modules) for number, modules in enumerate(stages, start=1)}

    def first_modules(self, stages: int) -> list[nn.Module]:
        ends = (0, *HALVING, len(self.features))
        return list(self.features)[: ends[stages]]


register(
    "mobilenet_v2",
    Architecture(
        build=lambda stride, widths: MobileNetV2(stride),
        strides=(32, 16, 8),
        weights="MobileNet_V2_Weights.IMAGENET1K_V1",
        classifiers=("classifier.1",),
    ),
)
