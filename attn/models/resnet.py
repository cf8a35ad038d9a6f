"""ResNet (He et al., CVPR 2016), from torchvision."""

from __future__ import annotations

__all__ = ["ResNet"]

from functools import partial

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register
from attn.models.dilation import remove_strides
from attn.models.stem import quick_gradient

MEMBERS = {"resnet18": "ResNet18", "resnet34": "ResNet34", "resnet50": "ResNet50", "resnet101": "ResNet101"}


class ResNet(Backbone):
    inner = "stage3"

    def __init__(self, name: str, stride: int) -> None:
        import torchvision  # slow to import

        super().__init__()
        source = torchvision.models.get_model(name, weights=None)
        classifier = source.get_submodule("fc")
        assert isinstance(classifier, nn.Linear)
        self.channels = classifier.in_features
        for child, module in source.named_children():
            if child not in ("avgpool", "fc"):
                self.add_module(child, quick_gradient(module))
        rate = 1
        if stride <= 8:
            rate = remove_strides([self.get_submodule("layer3")], rate)
        if stride <= 16:
            remove_strides([self.get_submodule("layer4")], rate)

    def stages(self) -> Stages:
        part = self.get_submodule
        stem: tuple[nn.Module, ...] = (part("conv1"), part("bn1"), part("relu"), part("maxpool"))
        return {"stem": stem} | {f"stage{number}": (part(f"layer{number}"),) for number in range(1, 5)}


def _build(stride: int, widths: tuple[int, ...] | None, *, name: str) -> Backbone:
    return ResNet(name, stride)


for _name, _weights in MEMBERS.items():
    register(
        _name,
        Architecture(
            build=partial(_build, name=_name),
            strides=(32, 16, 8),
            weights=f"{_weights}_Weights.IMAGENET1K_V1",
            classifiers=("fc",),
        ),
    )
