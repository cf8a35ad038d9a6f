"""The convolutional part of a network, and the registry of architectures.

Each family is one file, which registers its architectures by name. Backbones keep torchvision's parameter names, so
that torchvision's weights fit.
"""

from __future__ import annotations

__all__ = ["Architecture", "Backbone", "architecture", "architectures", "register"]

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

from torch import nn

from attn.errors import ConfigError

Stages = dict[str, tuple[nn.Module, ...]]


class Backbone(nn.Module, ABC):
    """A sequence of convolutional stages; a stage's output is the activation of its last convolution.

    Attributes:
        channels: Channels of the last stage's output.
        inner: Name of the penultimate stage; its output is the feature layer `inner`.
    """

    channels: int
    inner: str

    @abstractmethod
    def stages(self) -> Stages:
        """The modules of each stage by the stage's name, in the order of computation."""


@dataclass(frozen=True)
class Architecture:
    """A named backbone.

    Attributes:
        build: Creates the backbone for an output stride and, if `has_widths`, the channels of its stages.
        strides: Possible output strides; the first is the default.
        weights: torchvision's weights for it, as `Enum.MEMBER`, or None.
        heads: Classifier heads that it supports.
        classifiers: torchvision's classifier layers, in order; the last one has a row for each class.
        has_widths: Whether `widths` can be chosen.
    """

    build: Callable[[int, tuple[int, ...] | None], Backbone]
    strides: tuple[int, ...]
    weights: str | None
    classifiers: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("gap", "conv")
    has_widths: bool = False


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
    """Names of the registered architectures that match a shell pattern."""
    return sorted(name for name in _ARCHITECTURES if fnmatch(name, pattern))


def architecture(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        ConfigError: The name is unknown; the message lists all names.
    """
    if name not in _ARCHITECTURES:
        raise ConfigError(f"there is no architecture {name!r}; there are {', '.join(architectures())}")
    return _ARCHITECTURES[name]
