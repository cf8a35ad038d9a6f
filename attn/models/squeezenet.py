"""SqueezeNet 1.1 (Iandola et al., 2016), from torchvision."""

from __future__ import annotations

__all__ = ["SqueezeNet"]

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register
from attn.models.dilation import remove_strides
from attn.models.stem import quick_gradient


class SqueezeNet(Backbone):
    channels = 512
    inner = "stage3"

    def __init__(self, stride: int) -> None:
        import torchvision  # slow to import

        super().__init__()
        features = torchvision.models.squeezenet1_1(weights=None).features
        assert isinstance(features, nn.Sequential)
        features[0] = quick_gradient(features[0])
        self.features = features
        if stride <= 8:
            remove_strides(self.stages()["stage4"], 1)

    def stages(self) -> Stages:
        stages: dict[str, list[nn.Module]] = {"stage1": []}
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                stages[f"stage{len(stages) + 1}"] = []
            stages[f"stage{len(stages)}"].append(module)
        return {name: tuple(modules) for name, modules in stages.items()}


register(
    "squeezenet1_1",
    Architecture(
        build=lambda stride, widths: SqueezeNet(stride),
        strides=(16, 8),
        weights="SqueezeNet1_1_Weights.IMAGENET1K_V1",
        classifiers=("classifier.1",),
    ),
)
