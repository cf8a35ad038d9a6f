"""Networks of every architecture with an eighth of its channels: the same layers, strides and branches, in less time.

That a step reaches every parameter, where a layer's grid lies or what a mode leaves alone does not depend on how many
channels a layer has. What does is tested on the networks themselves: that torchvision's weights fit them, above all.
"""

from __future__ import annotations

__all__ = ["thin_network"]

from collections.abc import Sequence

import torch
from torch import nn

from attn.models import ModelConfig, Network
from attn.models.backbone import TIMM

FACTOR = 8
NARROW = ("tiny", "resnet110_cifar")
"""Architectures that are built as they are, like timm's: their layers have few channels anyway."""


def thin_network(config: ModelConfig, classes: int, layers: Sequence[str] = ()) -> Network:
    """The network of a config without weights, thinned; deterministic after `torch.manual_seed`.

    The widths of `fc_width` and `head_width` are those of the network before.
    """
    if config.name in NARROW or config.name.startswith(TIMM):
        return config.build(classes, layers)
    with torch.device("meta"):  # no memory, and no time for values that nobody will see
        network = Network(config, classes, layers)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            last = child is network.head.classifier
            if isinstance(child, nn.BatchNorm2d):
                module.add_module(name, nn.BatchNorm2d(_few(child.num_features), child.eps, child.momentum))
            elif isinstance(child, nn.Conv2d):
                _thin_convolution(child, last)
            elif isinstance(child, nn.Linear):
                _thin_linear(child, last)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    network.backbone.channels = _few(network.backbone.channels)
    network.head.channels = _few(network.head.channels)
    return network.train()


def _few(channels: int) -> int:
    assert channels % FACTOR == 0, f"{channels} channels cannot be thinned"
    return channels // FACTOR


def _thin_convolution(layer: nn.Conv2d, last: bool) -> None:
    depthwise = layer.groups > 1
    layer.in_channels = layer.in_channels if layer.in_channels == 3 else _few(layer.in_channels)
    layer.out_channels = layer.out_channels if last else _few(layer.out_channels)
    layer.groups = layer.in_channels if depthwise else 1
    layer.weight = nn.Parameter(torch.empty(layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size))
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.zeros(layer.out_channels))


def _thin_linear(layer: nn.Linear, last: bool) -> None:
    layer.in_features = _few(layer.in_features)
    layer.out_features = layer.out_features if last else _few(layer.out_features)
    layer.weight = nn.Parameter(torch.empty(layer.out_features, layer.in_features))
    nn.init.normal_(layer.weight, std=0.01)
    layer.bias = nn.Parameter(torch.zeros(layer.out_features))
