"""A network of the user's own as a backbone: a function of a package of theirs, named by `model.factory`.

The function takes no arguments and returns a `torch.nn.Sequential` with a child for each stage, or a `Backbone`. It is
code that runs with the user's rights, and a trained model's description names it too. So it is called only if the
environment variable `ATTN_FACTORIES` lists it, and the jobs service never lets a client name one.
"""

from __future__ import annotations

__all__ = ["FACTORIES", "FACTORY", "StagesBackbone", "factory_architecture"]

import importlib
import os
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn

from attn.errors import ConfigError
from attn.models.backbone import FACTORY, Architecture, Backbone, Stages
from attn.wording import shorten

FACTORIES = "ATTN_FACTORIES"
"""Environment variable with the functions that may be called, separated by commas."""
LEAST_STAGES = 2
PROBED = 224
"""Side of the input by which the channels and the stride are found."""


class StagesBackbone(Backbone):
    """A sequence of stages, each of which computes features (B, K, h, w).

    Attributes:
        net: The stages.
    """

    def __init__(self, net: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.net, self.channels = net, channels
        self.inner = list(self.stages())[-2]

    def stages(self) -> Stages:
        children = dict(self.net.named_children())
        return {f"stage{int(name) + 1}" if name.isdigit() else name: (part,) for name, part in children.items()}


@lru_cache(16)
def factory_architecture(name: str) -> Architecture:
    """The architecture `factory/package.module:function`.

    Raises:
        ConfigError: The function may not be called, does not exist, fails, or returns something else.
    """
    spec = name.removeprefix(FACTORY)
    function = _function(spec)
    net = _called(function, spec)
    try:
        with torch.no_grad():
            result = net.eval()(torch.zeros(1, 3, PROBED, PROBED))
            last = result["last"] if isinstance(net, Backbone) else result
    except Exception as error:  # the user's network can raise anything
        raise ConfigError(_problem(spec, f"cannot compute features of an image of {PROBED} pixels", error)) from error
    if last.ndim != 4:
        raise ConfigError(f"model.factory={spec} gives features {tuple(last.shape)}; expected (B, K, h, w)")
    channels, stride = int(last.shape[1]), round(PROBED / last.shape[2])

    def build(stride: int, widths: tuple[int, ...] | None) -> Backbone:
        net = _called(function, spec)
        return StagesBackbone(net, channels) if isinstance(net, nn.Sequential) else net

    prefix = "" if isinstance(net, Backbone) else "net."
    return Architecture(build=build, strides=(stride,), weights=None, prefix=prefix)


def _function(spec: str) -> Callable[[], object]:
    allowed = [one.strip() for one in os.environ.get(FACTORIES, "").split(",")]
    if spec not in allowed:
        raise ConfigError(
            f"model.factory={spec} runs code on this machine: if you trust it, allow it by "
            f"`export {FACTORIES}={f'${FACTORIES},' if any(allowed) else ''}{spec}`"
        )
    module, _, name = spec.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        hint = "install its package, or set PYTHONPATH to the folder of it"
        raise ConfigError(f"{_problem(spec, 'cannot be imported', error)}: {hint}") from error


def _called(function: Callable[[], object], spec: str) -> nn.Sequential | Backbone:
    try:
        net = function()
    except Exception as error:  # the user's function can raise anything
        raise ConfigError(_problem(spec, "fails", error)) from error
    if isinstance(net, Backbone) or (isinstance(net, nn.Sequential) and len(net) >= LEAST_STAGES):
        return net
    raise ConfigError(
        f"model.factory={spec} returned {type(net).__name__}; expected a torch.nn.Sequential with a child for each of "
        f"at least {LEAST_STAGES} stages, or an attn.models.Backbone"
    )


def _problem(spec: str, what: str, error: Exception) -> str:
    reason = shorten((str(error).splitlines() or [""])[0], 200)
    return f"model.factory={spec} {what} ({type(error).__name__}: {reason})"
