"""The base of all networks: a backbone whose first stages, and whose batch normalisation, may be frozen."""

from __future__ import annotations

__all__ = ["BackboneConfig", "BackboneNetwork", "check_backbone"]

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, Self, TypeVar

from torch import nn

from attn.errors import AttnError, ConfigError, Fault
from attn.models.backbone import FACTORY, Architecture, Backbone, architecture
from attn.models.normalization import normalizations


class BackboneConfig(Protocol):
    """The fields of a network's config that concern its backbone."""

    @property
    def name(self) -> str: ...

    @property
    def factory(self) -> str | None: ...

    @property
    def weights(self) -> str | None: ...

    @property
    def stride(self) -> int | None: ...

    @property
    def widths(self) -> tuple[int, ...] | None: ...

    @property
    def batch_norm(self) -> Literal["train", "frozen"]: ...

    @property
    def batch_norm_affine(self) -> bool: ...

    @property
    def freeze_stages(self) -> int: ...


C = TypeVar("C", bound=BackboneConfig)


def check_backbone(config: BackboneConfig) -> Architecture:
    """The architecture of a config.

    Raises:
        ValueError: There is no such architecture, or it cannot have the config's stride, weights or widths.
    """
    if config.name.startswith(FACTORY) and config.name != f"{FACTORY}{config.factory}":
        raise ValueError(f"name={config.name} is no name to give: set factory={config.name.removeprefix(FACTORY)}")
    try:
        result = architecture(config.name)
    except AttnError as error:
        raise ValueError(str(error)) from error
    if config.stride is not None and config.stride not in result.strides:
        raise ValueError(f"{config.name} cannot have stride={config.stride}: set stride to {either(result.strides)}")
    if config.weights == "imagenet" and result.weights is None:
        raise ValueError(f"there are no imagenet weights for {config.name}: set weights=null or to a state dict")
    if config.widths is not None:
        stride = config.stride or result.strides[0]
        if not result.has_widths:
            raise ValueError(f"{config.name} has fixed widths: set widths=null, or name=tiny")
        if 2 ** len(config.widths) < stride or len(config.widths) < 2:
            raise ValueError(f"{len(config.widths)} stages cannot reach stride {stride}: give more widths")
    return result


def either(options: Sequence[object]) -> str:
    """The options of a field, for a message."""
    return " or ".join(str(option) for option in options)


class BackboneNetwork(nn.Module, Generic[C]):
    """A backbone; subclasses add a head and then call `freeze`.

    Attributes:
        num_classes: Without a background.
        notices: Messages for the user about the initial weights.
    """

    notices: tuple[str, ...] = ()

    def __init__(self, config: C, num_classes: int, stride: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.backbone: Backbone = architecture(config.name).build(stride, config.widths)
        stages = tuple(self.backbone.stages())
        if config.freeze_stages > len(stages):
            problem = f"{config.freeze_stages}, but {config.name} has {len(stages)} stages: {', '.join(stages)}"
            raise ConfigError([Fault("model.freeze_stages", problem, f"{len(stages)} or fewer")])

    def freeze(self) -> None:
        """Fix the parameters that the config leaves untrained, and set training mode."""
        for parameter in self.backbone.first_parameters(self.config.freeze_stages):
            parameter.requires_grad_(False)
        if not self.config.batch_norm_affine:
            for normalization in normalizations(self):
                normalization.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        frozen = [self]
        if self.config.batch_norm == "train":
            frozen = self.backbone.first_modules(self.config.freeze_stages)
        for part in frozen:
            for normalization in normalizations(part):
                normalization.eval()
        return self
