"""A network of timm as a backbone: convolutional ones, and transformers with their tokens as a grid.

The features are those of timm's own `forward_features`, so a network computes what timm computes. Layers inside it are
read by `attn.models.taps`. Where timm normalises after pooling (ConvNeXt, some ViTs), the same normalisation comes
before it here, at each position: then the head is pooling and one linear layer, and maps are known in closed form.

Shapes: B images, N tokens, K channels, h×w feature map, H×W input.
"""

from __future__ import annotations

__all__ = ["Grid", "Kind", "Layer", "Size", "TimmBackbone", "create", "feature_layers", "grid_of", "norm_after_pooling"]

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import timm
import torch
from timm.layers import DropPath
from timm.layers.activations import HardSigmoid
from torch import Tensor, nn

from attn.errors import ConfigError
from attn.models.backbone import Backbone, Stages, in_graph
from attn.models.same_padding import pad_traceably
from attn.models.stem import quick_gradient
from attn.models.taps import tap, watching
from attn.models.timm_positions import POSITIONS, resampled

BLOCK = re.compile(r"blocks\.\d+")
Size = tuple[int, int]


class Layer(NamedTuple):
    """A feature layer.

    Attributes:
        module: Path of the module that computes it.
        reduction: Input pixels per position.
    """

    module: str
    reduction: int


class Kind(NamedTuple):
    """What a network of timm is like.

    Attributes:
        name: timm's own.
        stride: Its own output stride.
        channels: Of its last features.
        unused: Paths of the layers with parameters that its features do not need.
        multiple: Sides of inputs must be multiples of this.
        only: The only input size that it takes; None: any.
    """

    name: str
    stride: int
    channels: int
    unused: tuple[str, ...]
    multiple: int
    only: Size | None


class TimmBackbone(Backbone):
    """One network of timm without its classifier.

    Attributes:
        net: timm's network.
        layers: Feature layers by name: `stage1`, …, or a transformer's `block1`, …. A transformer's `inner` is the
            block at three quarters of its depth.
    """

    def __init__(self, kind: Kind, stride: int | None) -> None:
        """A network with random weights.

        Args:
            stride: Output stride; None: the network's own.
        """
        super().__init__()
        self.kind = kind
        self.net = create(kind.name, stride)
        self.layers = feature_layers(self.net)
        self.channels = kind.channels
        names = list(self.layers)
        inner = len(names) * 3 // 4 - 1 if names[0].startswith("block") else len(names) - 2
        self.inner = names[max(0, inner)]
        self.norm = norm_after_pooling(self.net)
        # Windows of attention (Swin) are cut and masked by loops over the size, of which a trace takes half an hour.
        self.traced_at_any_size = getattr(self.net, "output_fmt", "NCHW") != "NHWC"
        for path in sorted(kind.unused, key=len, reverse=True):  # parts before the whole
            self.net.set_submodule(path, nn.Identity())
        for module in self.net.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
        pad_traceably(self.net)
        if isinstance(first := getattr(self.net, "pretrained_cfg", {}).get("first_conv"), str):
            self.net.set_submodule(first, quick_gradient(self.net.get_submodule(first)))
        for layer in self.layers.values():
            tap(self.net.get_submodule(layer.module))

    def stages(self) -> Stages:
        """The modules of each stage; those above the last layer belong to the last stage."""
        stages: dict[str, list[nn.Module]] = {name: [] for name in self.layers}
        ends = [layer.module for layer in self.layers.values()]
        names = iter(self.layers)
        current = next(names)
        for path, module in _units(self.net, ends):
            stages[current].append(module)
            if path in ends:
                current = next(names, current)
        return {name: tuple(modules) for name, modules in stages.items()}

    def differentiate_twice(self, above: Collection[str]) -> None:
        stages, passed = self.stages(), False
        for name, modules in stages.items():
            for module in modules if passed else ():
                _unfuse(module)
            passed = passed or name in above

    def adapt(self, state: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], str | None]:
        name = f"{prefix}net.{POSITIONS}"
        if name not in state or (done := resampled(state[name], self.net)) is None:
            return state, None
        return state | {name: done[0]}, done[1]

    def first_parameters(self, stages: int) -> list[nn.Parameter]:
        loose = list(self.net.parameters(recurse=False)) if stages else []
        return [*loose, *super().first_parameters(stages)]

    def forward(self, images_BCHW: Tensor, exposed: Collection[str] = ()) -> dict[str, Tensor]:
        size = (images_BCHW.shape[2], images_BCHW.shape[3])
        self._check(size)
        features: dict[str, Tensor] = {}

        def expose(name: str, result: Tensor) -> Tensor:
            grid = grid_of(result, self.net, size, self.layers[name].reduction)
            features[name] = in_graph(grid.features)
            return grid.back(features[name])

        watchers: dict[nn.Module, Callable[[Tensor], Tensor]] = {
            self.net.get_submodule(self.layers[name].module): partial(expose, name) for name in exposed
        }
        with watching(watchers):
            result = self.net.forward_features(images_BCHW)  # pyright: ignore[reportCallIssue]
        last = grid_of(result, self.net, size, list(self.layers.values())[-1].reduction).features
        return features | {"last": last if self.norm is None else self._normalised(last)}

    def _normalised(self, features_BKhw: Tensor) -> Tensor:
        assert self.norm is not None
        norm = self.net.get_submodule(self.norm)
        if "2d" in type(norm).__name__:
            return norm(features_BKhw)
        return norm(features_BKhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _check(self, size: Size) -> None:
        name, only, multiple = self.kind.name, self.kind.only, self.kind.multiple
        if only is not None and size != only:
            raise ConfigError(f"timm/{name} takes inputs of {only[0]}x{only[1]} only, not {size[0]}x{size[1]}")
        if multiple > 1 and any(side % multiple for side in size):
            raise ConfigError(
                f"timm/{name} takes inputs with sides that are multiples of {multiple}, not {size[0]}x{size[1]}"
            )


class Grid(NamedTuple):
    """Features as a grid (B, K, h, w), and the function that undoes this."""

    features: Tensor
    back: Callable[[Tensor], Tensor]


def grid_of(result: Any, net: nn.Module, size: Size, reduction: int) -> Grid:
    """A layer's result as a grid, without class and register tokens.

    Args:
        size: (H, W) of the input.
        reduction: Input pixels per token.

    Raises:
        ConfigError: The layer gives neither maps nor tokens.
    """
    if not isinstance(result, Tensor) or result.ndim not in (3, 4):
        given = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ConfigError(f"timm's {type(net).__name__} gives {given} as features; attn takes maps and tokens only")
    if result.ndim == 4 and getattr(net, "output_fmt", "NCHW") == "NHWC":
        return Grid(result.permute(0, 3, 1, 2).contiguous(), lambda grid_BKhw: grid_BKhw.permute(0, 2, 3, 1))
    if result.ndim == 4:
        return Grid(result, lambda grid_BKhw: grid_BKhw)
    height, width = size[0] // reduction, size[1] // reduction
    others = result.shape[1] - height * width
    if others not in (0, int(getattr(net, "num_prefix_tokens", 0))):  # CaiT's blocks have no class token yet
        raise ConfigError(
            f"timm's {type(net).__name__} gives {result.shape[1]} tokens, which are no grid of {height}x{width}"
        )
    prefix_BMK, tokens_BNK = result[:, :others], result[:, others:]
    grid_BKhw = tokens_BNK.transpose(1, 2).contiguous().unflatten(2, (height, width))
    return Grid(grid_BKhw, lambda grid: torch.cat([prefix_BMK, grid.flatten(2).transpose(1, 2)], dim=1))


def create(name: str, stride: int | None) -> nn.Module:
    """timm's network with random weights and without a classifier; for any input size if it permits.

    Args:
        stride: Output stride; None: the network's own.

    Raises:
        TypeError: It cannot have another stride.
    """
    settings: dict[str, Any] = {"num_classes": 0} | ({} if stride is None else {"output_stride": stride})
    try:
        return timm.create_model(name, **settings, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        return timm.create_model(name, **settings)


def feature_layers(net: nn.Module) -> dict[str, Layer]:
    """The feature layers that timm names, the rectified ones where it names a linear bottleneck."""
    described = getattr(net, "feature_info", None)
    known: list[dict[str, Any]] = [info for info in described or [] if info.get("module")]
    blocks = len({info["reduction"] for info in known}) == 1 and all(BLOCK.fullmatch(info["module"]) for info in known)
    kind: Literal["block", "stage"] = "block" if known and blocks else "stage"
    return {
        f"{kind}{number}": Layer(info["module"] if blocks else _rectified(net, info["module"]), int(info["reduction"]))
        for number, info in enumerate(known, start=1)
    }


def _rectified(net: nn.Module, path: str) -> str:
    """The activation after the expansion that follows a stage of inverted bottlenecks; any other layer unchanged."""
    if (match := BLOCK.fullmatch(path)) is None:
        return path
    following = f"blocks.{int(match[0].partition('.')[2]) + 1}.0"
    try:
        block = net.get_submodule(following)
    except AttributeError:
        return path
    expands = hasattr(block, "conv_pw") and hasattr(block, "conv_pwl") and not getattr(block, "has_skip", True)
    return f"{following}.bn1" if expands else path


def _unfuse(module: nn.Module) -> None:
    """Replace fused attention and the hard sigmoid, of which PyTorch has no second derivative."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            vars(part)["fused_attn"] = False
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Hardsigmoid):
                part.add_module(name, HardSigmoid())


def norm_after_pooling(net: nn.Module) -> str | None:
    """Path of the layer normalisation between pooling and the classifier."""
    for path in ("fc_norm", "head.norm"):
        try:
            norm = net.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(norm, nn.LayerNorm):
            return path
    return None


def _units(module: nn.Module, ends: Collection[str], path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules in the order of computation, split where a layer ends inside one."""
    for name, child in module.named_children():
        own = f"{path}{name}"
        if any(end.startswith(f"{own}.") for end in ends):
            yield from _units(child, ends, f"{own}.")
        else:
            yield own, child
