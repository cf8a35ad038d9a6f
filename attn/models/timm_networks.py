"""timm's networks by name: what each one takes, and its own weights.

What a network is like is read from a copy without weights (meta device), so that nothing is downloaded or computed.
"""

from __future__ import annotations

__all__ = ["timm_architecture", "timm_weights"]

import inspect
from functools import lru_cache, partial
from typing import Any

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn

from attn.errors import ConfigError
from attn.models.backbone import Architecture, Backbone, NetworkInput
from attn.models.shapes import shapes_only
from attn.models.timm_backbone import (
    Kind,
    Size,
    TimmBackbone,
    create,
    feature_layers,
    grid_of,
    norm_after_pooling,
)
from attn.models.timm_hub import known_name, with_own_weights
from attn.wording import shorten

KEPT = 64
LEAST_STRIDE = 8


@lru_cache(KEPT)
def timm_architecture(name: str) -> Architecture:
    """The architecture `timm/NAME`.

    Raises:
        ConfigError: timm has no such network, or attn cannot run it; the message names similar ones.
    """
    short = known_name(name)
    try:
        with shapes_only():
            net = create(short, None)
            cfg: dict[str, Any] = getattr(net, "pretrained_cfg", {})
            size: Size = tuple(cfg["input_size"][-2:])
            unused, channels = _probed(net, size)
    except Exception as error:  # timm's networks can raise anything
        reason = shorten((str(error).splitlines() or [type(error).__name__])[0], 200)
        raise ConfigError(f"{name} cannot be used: {reason}; choose another of timm's networks") from error
    own = list(feature_layers(net).values())[-1].reduction
    dilates = "output_stride" in inspect.signature(type(net).__init__).parameters
    strides = tuple(own >> power for power in range(3) if own >> power >= LEAST_STRIDE) if dilates else (own,)
    fixed = bool(cfg.get("fixed_input_size")) and not _any_size(net)
    kind = Kind(short, own, channels, unused, _multiple(net), size if fixed else None)
    classifier = cfg.get("classifier") or ()
    named = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return Architecture(
        build=partial(_build, kind=kind),
        strides=strides,
        weights=name if any(cfg.get(source) for source in ("url", "file", "hf_hub_id", "state_dict")) else None,
        classifiers=(*unused, *reversed(named)),
        prefix="net.",
        input=_input(cfg),
        multiple=kind.multiple,
        only=kind.only,
    )


def timm_weights(name: str) -> dict[str, Tensor]:
    """timm's own weights of a network, with its classifier, from the cache or the hub.

    Raises:
        WeightsError: They are not in the cache and cannot be downloaded.
    """
    network = with_own_weights(
        known_name(name), "model.weights", ", or start from random weights with model.weights=null"
    )
    return network.state_dict()


def _build(stride: int, widths: tuple[int, ...] | None, *, kind: Kind) -> Backbone:
    return TimmBackbone(kind, None if stride == kind.stride else stride)


def _probed(net: nn.Module, size: Size) -> tuple[tuple[str, ...], int]:
    """Paths of the layers behind the last features, and the channels of these.

    Raises:
        ConfigError: The network lacks a feature layer, or one gives neither maps nor tokens.
    """
    layers = feature_layers(net)
    if not layers:
        raise ConfigError(f"timm's {type(net).__name__} does not say where its feature layers are")
    called: set[nn.Module] = set()
    seen: dict[str, Any] = {}
    handles = [part.register_forward_pre_hook(lambda part, _: called.add(part)) for part in net.modules()]
    handles += [
        _layer(net, layer.module).register_forward_hook(lambda *call, name=name: seen.update({name: call[-1]}))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        result = net.forward_features(torch.empty(1, 3, *size))  # pyright: ignore[reportCallIssue]
    for handle in handles:
        handle.remove()
    for name, layer in layers.items():
        if name not in seen:
            raise ConfigError(f"timm's {type(net).__name__} has features without its layer {layer.module!r}")
        grid_of(seen[name], net, size, layer.reduction)
    reduction = list(layers.values())[-1].reduction
    unused = [
        path
        for name, child in net.named_children()
        if called.isdisjoint(child.modules())
        for path, part in child.named_modules(prefix=name)
        if path != norm_after_pooling(net) and next(part.parameters(recurse=False), None) is not None
    ]
    return tuple(unused), int(grid_of(result, net, size, reduction).features.shape[1])


def _layer(net: nn.Module, path: str) -> nn.Module:
    try:
        return net.get_submodule(path)
    except AttributeError as error:
        raise ConfigError(f"timm's {type(net).__name__} names a feature layer {path!r} that it lacks") from error


def _input(cfg: dict[str, Any]) -> NetworkInput:
    """timm resizes by other rules too, of which bicubic is the nearest."""
    (a, b, c), (d, e, f) = cfg["mean"], cfg["std"]
    return NetworkInput((a, b, c), (d, e, f), "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic")


def _any_size(net: nn.Module) -> bool:
    return bool(getattr(net, "dynamic_img_size", False))


def _multiple(net: nn.Module) -> int:
    """What sides of inputs must be multiples of: the patches', unless timm fills the rest of the last patch."""
    embed = getattr(net, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return 1
    return max(int(side) for side in embed.patch_size)
