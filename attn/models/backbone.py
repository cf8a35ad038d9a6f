"""The part of a network below its head, and the registry of architectures.

Each family is one file, which registers its architectures by name. Backbones keep torchvision's parameter names, so
that torchvision's weights fit. `timm/NAME` is a network of timm, which is imported when such a name is used.

Shapes: B images, K channels, h×w feature map, H×W input.
"""

from __future__ import annotations

__all__ = [
    "FACTORY",
    "TIMM",
    "Architecture",
    "Backbone",
    "NetworkInput",
    "Stages",
    "architecture",
    "architectures",
    "in_graph",
    "register",
]

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

import torch
from torch import Tensor, nn

from attn.errors import ConfigError

Stages = dict[str, tuple[nn.Module, ...]]
TIMM = "timm/"
"""The beginning of the names of timm's networks."""
FACTORY = "factory/"
"""The beginning of the names of networks that a function of the user's makes."""


class Backbone(nn.Module, ABC):
    """A sequence of stages; a stage's output is the activation of its last convolution.

    Attributes:
        channels: Channels of the last features.
        inner: Name of the penultimate stage; its output is the feature layer `inner`.
        traced_at_any_size: Whether an export can leave the input's size open.
    """

    channels: int
    inner: str
    traced_at_any_size: bool = True

    @abstractmethod
    def stages(self) -> Stages:
        """The modules of each stage by the stage's name, in the order of computation."""

    def forward(self, images_BCHW: Tensor, exposed: Collection[str] = ()) -> dict[str, Tensor]:
        """Compute features (B, K, h, w).

        Args:
            exposed: Names of stages.

        Returns:
            The output of each of these stages, part of the graph of what follows, and `last`, the last features.
        """
        features: dict[str, Tensor] = {}
        x = images_BCHW
        for stage, modules in self.stages().items():
            for module in modules:
                x = module(x)
            if stage in exposed:
                features[stage] = x = in_graph(x)
        return features | {"last": x}

    def differentiate_twice(self, above: Collection[str]) -> None:
        """Prepare for second derivatives of what follows some stages; PyTorch lacks those of some fused functions."""

    def adapt(self, state: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], str | None]:
        """Convert what a state dict may have in another size than this backbone.

        Args:
            prefix: Beginning of the names of this backbone's parameters.

        Returns:
            The state dict, and a message if something was converted.
        """
        return state, None

    def first_parameters(self, stages: int) -> list[nn.Parameter]:
        """The parameters of the first stages."""
        return [parameter for module in self.first_modules(stages) for parameter in module.parameters()]

    def first_modules(self, stages: int) -> list[nn.Module]:
        """The modules of the first stages."""
        return [module for modules in list(self.stages().values())[:stages] for module in modules]


def in_graph(features: Tensor) -> Tensor:
    """Features that gradients can be taken of, even if no parameter below them is trained."""
    if torch.is_grad_enabled() and not features.requires_grad and not features.is_inference():
        return features.detach().requires_grad_()
    return features


@dataclass(frozen=True)
class NetworkInput:
    """The images that a network's own weights were trained on.

    Attributes:
        mean, std: Of the RGB channels in [0, 1].
        interpolation: How images were resized.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Architecture:
    """A named backbone.

    Attributes:
        build: Creates the backbone for an output stride and, if `has_widths`, the channels of its stages.
        strides: Possible output strides; the first is the default.
        weights: torchvision's weights for it, as `Enum.MEMBER`, or timm's, as `timm/NAME`, or None.
        heads: Classifier heads that it supports.
        classifiers: Layers of the original network behind its last features, in order; the last one has a row for each
            class.
        has_widths: Whether `widths` can be chosen.
        prefix: Beginning of the names of the original network's parameters in this backbone.
        input: What its own weights were trained on; None: as the defaults of `input` have it.
        multiple: Sides of inputs must be multiples of this.
        only: Height and width of inputs, if the network takes no others.
    """

    build: Callable[[int, tuple[int, ...] | None], Backbone]
    strides: tuple[int, ...]
    weights: str | None
    classifiers: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("gap", "conv")
    has_widths: bool = False
    prefix: str = ""
    input: NetworkInput | None = None
    multiple: int = 1
    only: tuple[int, int] | None = None


_ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, architecture: Architecture) -> None:
    """Register an architecture.

    Raises:
        ValueError: The name is registered already.
    """
    if name in _ARCHITECTURES:
        raise ValueError(f"the architecture {name!r} is already registered")
    _ARCHITECTURES[name] = architecture


def architectures(pattern: str = "*") -> list[str]:
    """Names of the registered architectures that match a shell pattern; without timm's."""
    return sorted(name for name in _ARCHITECTURES if fnmatch(name, pattern))


def architecture(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        ConfigError: The name is unknown; the message lists all names, or similar ones of timm.
    """
    if name.startswith(TIMM):
        from attn.models.timm_networks import timm_architecture  # timm is slow to import

        return timm_architecture(name)
    if name.startswith(FACTORY):
        from attn.models.factory import factory_architecture

        return factory_architecture(name)
    if name not in _ARCHITECTURES:
        near = sorted(difflib.get_close_matches(name, _ARCHITECTURES, n=3))
        meant = f": did you mean {' or '.join(near)}? There" if near else "; there"
        known = f"{', '.join(architectures())}, and timm's as {TIMM}NAME"
        raise ConfigError(f"there is no architecture {name!r}{meant} are {known}")
    return _ARCHITECTURES[name]
