"""The convolutional part of a network, and the flat registry of those that there are.

A family is one file; each of its architectures registers a builder by name. A backbone keeps torchvision's parameter
names, so that torchvision's weights fit it.
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
    """Convolutional stages in a row; a stage's output is the activation of its last convolution.

    Attributes:
        channels: Of the last stage's output.
        inner: Name of the penultimate stage: the last one at the next higher resolution.
    """

    channels: int
    inner: str

    @abstractmethod
    def stages(self) -> Stages:
        """Every stage's modules by the stage's name, in the order of computation."""


@dataclass(frozen=True)
class Architecture:
    """What a network can be built from by name.

    Attributes:
        build: Makes the backbone for an output stride; `widths` overrides the stages' channels where the family has it.
        strides: Output strides that it can have; the first is its own.
        weights: torchvision's weights for it, `Enum.MEMBER`, or None.
        heads: Classifier heads that fit it.
        classifiers: torchvision's classifier layers, in order; the last one has as many rows as the data has classes.
        has_widths: Whether `widths` means anything to it.
    """

    build: Callable[[int, tuple[int, ...] | None], Backbone]
    strides: tuple[int, ...]
    weights: str | None
    classifiers: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("gap", "conv")
    has_widths: bool = False


_ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, architecture: Architecture) -> None:
    """Add an architecture; a name that is taken is refused."""
    if name in _ARCHITECTURES:
        raise ValueError(f"the architecture {name!r} is already registered")
    _ARCHITECTURES[name] = architecture


def architectures(pattern: str = "*") -> list[str]:
    """Names of the registered architectures that match a shell pattern."""
    return sorted(name for name in _ARCHITECTURES if fnmatch(name, pattern))


def architecture(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        ConfigError: If there is none; lists those that there are.
    """
    if name not in _ARCHITECTURES:
        raise ConfigError(f"there is no architecture {name!r}; there are {', '.join(architectures())}")
    return _ARCHITECTURES[name]
