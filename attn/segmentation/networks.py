"""Segmentation networks: a backbone at a fine stride and DeepLab's heads (Chen et al., ICLR 2015 and TPAMI 2018).

Shapes: B images, C channels of the output, of which 0 is the background, K channels, h×w output, H×W input.

VGG-16 is changed as DeepLab has it: every pooling is 3×3 with a border, so that an input of 8n + 1 pixels gives n + 1
positions; the fourth and fifth keep the resolution, conv5 is dilated by 2; an average pooling goes before the head.
"""

from __future__ import annotations

__all__ = ["SegmentationModelConfig", "SegmentationNetwork", "SegmentationOutput"]

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from attn.config.base import Config, Location
from attn.errors import ConfigError, Fault
from attn.models.backbone import FACTORY, Architecture, architecture
from attn.models.backbone_network import BackboneNetwork, check_backbone
from attn.models.class_rows import rows_by_class
from attn.models.least_input import POSITIONS, fits, least_side
from attn.models.normalization import frozen_statistics
from attn.models.weights import StateDict, fit, read_weights, weights_faults, with_our_names
from attn.segmentation.masks import MOST_CLASSES

DILATIONS = {"largefov": (12,), "aspp": (6, 12, 18, 24)}
FC_WIDTH, FC_SIDE = 4096, 7
"""Of VGG's fc6: its outputs, and the side of its window."""


class SegmentationModelConfig(Config):
    """The configuration of a segmentation network.

    Attributes:
        name: An architecture: see `attn.models.architectures()`; or `timm/NAME`, a network of timm.
        factory: A function of yours that makes the network, as `package.module:function`, in place of `name`; see
            `attn.models.factory`.
        weights: `imagenet` for torchvision's or timm's own; a path or `s3://` URI of a state dict, or a trained model's
            folder, of which the backbone is taken, and the head where it is the same one, its scores class by class, by
            name; None for random weights.
        head: `largefov`: one branch of dilation 12. `aspp`: four branches of dilation 6, 12, 18 and 24, summed.
        hidden: Channels of a branch's fc6 and fc7, before the layer of the scores; None: the branch is that layer
            alone, with 3×3 weights, as DeepLab-v2 has it on ResNet-101.
        dilations: Others than the head's own.
        stride: Input pixels per position of the output.
        widths: Channels of each stage, where the architecture lets them be chosen.
        dropout: After fc6 and fc7, in training mode.
        batch_norm: `frozen` normalises by the running statistics, and leaves them, in training mode too.
        batch_norm_affine: Whether scale and shift are trained.
        freeze_stages: How many of the first stages are left untrained, their statistics included.
    """

    name: str = "vgg16"
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    weights: Literal["imagenet"] | Location | None = "imagenet"
    head: Literal["largefov", "aspp"] = "largefov"
    hidden: PositiveInt | None = 1024
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1, strict=False)] | None = None
    stride: PositiveInt = 8
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    batch_norm: Literal["train", "frozen"] = "train"
    batch_norm_affine: bool = True
    freeze_stages: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _name(self) -> Self:
        if self.factory is not None:
            object.__setattr__(self, "name", f"{FACTORY}{self.factory}")
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        chosen = check_backbone(self)
        if self.weights == "imagenet" and _has_fc(chosen) and self.hidden is not None and FC_WIDTH % self.hidden:
            raise ValueError(
                f"hidden={self.hidden} cannot start from fc6, of whose {FC_WIDTH} channels every n-th is taken: "
                "set hidden=1024 or another divisor, or weights=null"
            )
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {"hidden": ("dropout",)} if self.hidden is None else {}

    def missing_files(self, prefix: str = "") -> Iterator[Fault]:
        yield from super().missing_files(prefix)
        yield from weights_faults(f"{prefix}weights", self.weights, lambda: self.build(1))

    @property
    def output_stride(self) -> int:
        """Input pixels per score."""
        return self.stride

    @property
    def branches(self) -> tuple[int, ...]:
        """The dilation of each branch."""
        return self.dilations or DILATIONS[self.head]

    def build(self, classes: Sequence[str] | int) -> SegmentationNetwork:
        """Make the network, with one channel more than classes; deterministic after `torch.manual_seed`.

        Args:
            classes: Names in the order of the channels behind the first, by which the channels of a trained network are
                taken over; or how many there are.

        Raises:
            ConfigError: More stages are frozen than there are.
            WeightsError: The weights cannot be had or do not fit.
        """
        names = None if isinstance(classes, int) else tuple(classes)
        network = SegmentationNetwork(self, classes if isinstance(classes, int) else len(classes))
        if self.weights is not None:
            chosen, own = architecture(self.name), network.state_dict()
            trained = read_weights(self.weights, chosen.weights)
            # VGG's fc6 and fc7 stay as they are.
            layers = ("fc6", "fc7", "classifier") if _has_fc(chosen) else ()
            state = with_our_names(trained.state, chosen.classifiers, layers, chosen.prefix)
            scores = [name for name in own if name.startswith("head.") and name.split(".")[-2] == "classifier"]
            state, notice = rows_by_class(trained, state, own, scores, names, first=1)
            state, adapted = network.backbone.adapt(state, "backbone.")
            wanted = _starting_point(state, own, network.pretrained_head)
            left = fit(network, wanted, [name for name in own if name.startswith("head.")], trained.origin)
            of_its_kind = any(name in state for name in scores)
            said = [f"{trained.origin}: {text}" for text in left] if of_its_kind else []
            if adapted:
                said.append(f"{trained.origin}: {adapted}")
            network.notices = (*([notice] if notice else []), *said)
        return network


@dataclass(frozen=True)
class SegmentationOutput:
    """Scores before the softmax, (B, C, h, w)."""

    logits: Tensor


class SegmentationNetwork(BackboneNetwork[SegmentationModelConfig]):
    """Images to a score of every class, the background first, at every position."""

    def __init__(self, config: SegmentationModelConfig, num_classes: int) -> None:
        if not 1 <= num_classes <= MOST_CLASSES:
            raise ConfigError(
                f"a segmentation network has 1 to {MOST_CLASSES} classes, as its masks, not {num_classes}"
            )
        super().__init__(config, num_classes, config.stride)
        self.pretrained_head = _has_fc(architecture(config.name))
        before: list[nn.Module] = []
        if self.pretrained_head:
            _widen_poolings(self.backbone)
            before = [nn.MaxPool2d(3, stride=1, padding=1), nn.AvgPool2d(3, stride=1, padding=1)]
        self.before = nn.Sequential(*before)
        self.head = _Head(self.backbone.channels, num_classes + 1, config)
        self.freeze()

    def forward(self, images_BCHW: Tensor, *, update_statistics: bool = True) -> SegmentationOutput:
        """Scores of a batch.

        Args:
            update_statistics: False leaves batch normalisation's running statistics as they are.
        """
        if not update_statistics:
            with frozen_statistics(self):
                return self.forward(images_BCHW)
        return SegmentationOutput(self.head(self.before(self.backbone(images_BCHW)["last"])))

    def is_head(self, parameter_name: str) -> bool:
        """Return whether a parameter starts untrained: the layers of the scores, and fc6 and fc7 but VGG's."""
        name = parameter_name.removeprefix("module.")
        return name.startswith("head.") and (not self.pretrained_head or ".classifier." in name)

    @cached_property
    def least_side(self) -> int:
        """The least side of an input."""
        return least_side(partial(fits, self), POSITIONS * max(architecture(self.config.name).strides))

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the output of an input of (H, W)."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        device = next(self.parameters()).device
        with torch.no_grad():
            height, width = self(torch.zeros(1, 3, *size, device=device)).logits.shape[-2:]
        for module, mode in modes.items():
            module.training = mode
        return int(height), int(width)


class _Head(nn.Module):
    """The sum of branches that see the same features from further and further away."""

    def __init__(self, channels: int, outputs: int, config: SegmentationModelConfig) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(channels, outputs, rate, config) for rate in config.branches)

    def forward(self, features_BKhw: Tensor) -> Tensor:
        scores = self.branches[0](features_BKhw)
        for branch in list(self.branches)[1:]:
            scores = scores + branch(features_BKhw)
        return scores


def _branch(channels: int, outputs: int, rate: int, config: SegmentationModelConfig) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    hidden = config.hidden
    if hidden is None:
        layers["classifier"] = _scores(nn.Conv2d(channels, outputs, 3, padding=rate, dilation=rate))
        return nn.Sequential(layers)
    layers["fc6"] = _started(nn.Conv2d(channels, hidden, 3, padding=rate, dilation=rate))
    layers["relu6"], layers["drop6"] = nn.ReLU(inplace=True), nn.Dropout(config.dropout)
    layers["fc7"] = _started(nn.Conv2d(hidden, hidden, 1))
    layers["relu7"], layers["drop7"] = nn.ReLU(inplace=True), nn.Dropout(config.dropout)
    layers["classifier"] = _scores(nn.Conv2d(hidden, outputs, 1))
    return nn.Sequential(layers)


def _started(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return _without_bias(layer)


def _scores(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(layer.weight, std=0.01)
    return _without_bias(layer)


def _without_bias(layer: nn.Conv2d) -> nn.Conv2d:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _has_fc(chosen: Architecture) -> bool:
    """Return whether torchvision's network has layers that fc6 and fc7 can start from."""
    return "fc" in chosen.heads


def _widen_poolings(backbone: nn.Module) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.MaxPool2d):
            module.kernel_size, module.padding = 3, 1


def _starting_point(state: StateDict, own: StateDict, pretrained_head: bool) -> StateDict:
    """The entries of a state dict that this network can take: the backbone, and those of the head that fit."""
    wanted = {name: value for name, value in state.items() if name.startswith("backbone.")}
    for name, value in own.items():
        if not name.startswith("head."):
            continue
        layer, kind = name.split(".")[-2:]
        of_fc = state.get(f"head.{layer}.{kind}") if pretrained_head and layer in ("fc6", "fc7") else None
        if name in state and state[name].shape == value.shape:
            wanted[name] = state[name]
        elif of_fc is not None and of_fc.shape[0] == FC_WIDTH:
            wanted[name] = _decimated(of_fc, value.shape)
    return wanted


def _decimated(values: Tensor, shape: torch.Size) -> Tensor:
    """Every n-th channel and, of fc6's window, the corners and what lies midway between them (DeepLab, section 3.1)."""
    step = FC_WIDTH // shape[0]
    values = values[::step]
    if values.ndim == 1:
        return values
    if values.shape[1] == FC_WIDTH:
        return values[:, ::step].reshape(shape)
    side = FC_SIDE // 2
    return values.reshape(shape[0], shape[1], FC_SIDE, FC_SIDE)[:, :, ::side, ::side].contiguous()
