"""Small networks of timm, one of each family: timm's own test networks, or its families with few channels."""

from __future__ import annotations

__all__ = ["SIDES", "THIN"]

from typing import Any

from timm.models import efficientnet, register_model, swin_transformer, vision_transformer
from torch import nn


@register_model
def thin_lite0(pretrained: bool = False, **settings: Any) -> nn.Module:
    settings = {"bn_eps": 1e-3, "pad_type": "same"} | settings
    return efficientnet._gen_efficientnet_lite("tf_efficientnet_lite0", 0.25, 0.5, pretrained, **settings)


@register_model
def thin_dinov2(pretrained: bool = False, **settings: Any) -> nn.Module:
    settings = {"img_size": 70, "embed_dim": 24, "depth": 4, "num_heads": 2} | settings
    return vision_transformer.vit_small_patch14_reg4_dinov2(pretrained, **settings)


@register_model
def thin_swin(pretrained: bool = False, **settings: Any) -> nn.Module:
    settings = {"embed_dim": 16, "depths": (2, 2, 2, 1), "num_heads": (1, 2, 2, 4)} | settings
    return swin_transformer.swin_tiny_patch4_window7_224(pretrained, **settings)


SIDES = {
    "timm/test_resnet": (64, 96),
    "timm/thin_lite0": (64, 96),
    "timm/test_convnext": (64, 96),
    "timm/regnetx_002": (64, 96),
    "timm/mobilenetv3_small_050": (64, 96),
    "timm/test_vit": (48, 64),
    "timm/thin_dinov2": (42, 56),
    "timm/thin_swin": (64, 96),
}
"""Height and width of small inputs that are not the network's own size."""
THIN = tuple(SIDES)
