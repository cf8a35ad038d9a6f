"""VGG-16 and VGG-19 (Simonyan & Zisserman, ICLR 2015), from torchvision.

The last stage ends at its last convolution (conv5_3, conv5_4), before the fifth pooling. So its maps have 14×14
positions for inputs of 224 pixels, as in GAIN; the fully connected head includes the fifth pooling. At stride 8 the
fourth pooling is 3×3 with stride 1, and conv5 is dilated by 2, as in OAA.
"""

from __future__ import annotations

__all__ = ["VGG"]

from functools import partial

from torch import nn

from attn.models.backbone import Architecture, Backbone, Stages, register
from attn.models.dilation import remove_strides


class VGG(Backbone):
    channels = 512
    inner = "stage4"

    def __init__(self, layout: str, stride: int, *, batch_norm: bool) -> None:
        from torchvision.models.vgg import cfgs, make_layers  # slow to import

        super().__init__()
        layers = list(make_layers(cfgs[layout], batch_norm=batch_norm))[:-1]
        for module in layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
        self.features = nn.Sequential(*layers)
        if stride <= 8:
            remove_strides(self.stages()["stage5"], 1)

    def stages(self) -> Stages:
        stages: dict[str, list[nn.Module]] = {"stage1": []}
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                stages[f"stage{len(stages) + 1}"] = []
            stages[f"stage{len(stages)}"].append(module)
        return {name: tuple(modules) for name, modules in stages.items()}


def _build(stride: int, widths: tuple[int, ...] | None, *, layout: str, batch_norm: bool) -> Backbone:
    return VGG(layout, stride, batch_norm=batch_norm)


for _name, _layout in {"vgg16": "D", "vgg16_bn": "D", "vgg19": "E"}.items():
    register(
        _name,
        Architecture(
            build=partial(_build, layout=_layout, batch_norm=_name.endswith("_bn")),
            strides=(16, 8),
            weights=f"{_name.upper()}_Weights.IMAGENET1K_V1",
            classifiers=("classifier.0", "classifier.3", "classifier.6"),
            heads=("gap", "conv", "fc"),
        ),
    )
