"""MobileNetV2 (Sandler et al., CVPR 2018), from torchvision."""

from __future__ import annotations

__all__ = ["MobileNetV2"]

from itertools import pairwise

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register
from attn.models.dilation import remove_strides
from attn.models.stem import quick_gradient

STARTS = (0, 2, 4, 7, 14, 19)
"""Indices of `features` at which the resolution halves; the last one is the end."""


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
        modules = list(self.features)
        bounds = pairwise(STARTS)
        return {f"stage{number}": tuple(modules[start:end]) for number, (start, end) in enumerate(bounds, start=1)}


register(
    "mobilenet_v2",
    Architecture(
        build=lambda stride, widths: MobileNetV2(stride),
        strides=(32, 16, 8),
        weights="MobileNet_V2_Weights.IMAGENET1K_V1",
        classifiers=("classifier.1",),
    ),
)
