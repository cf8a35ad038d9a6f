"""The method contract and the registry.

A method is one file in this folder: a config that derives from `MethodConfig` with its own `name`, and a class with a
`step`. The config's `build` makes the method. Nothing else needs to know of it.
"""

from __future__ import annotations

__all__ = [
    "Auxiliary",
    "SourceStream",
    "HasAuxiliary",
    "Method",
    "MethodConfig",
    "Progress",
    "StepMaps",
    "StepOutput",
    "Supervision",
]

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from attn.config.base import Variant
from attn.data.sample import Batch
from attn.data.soft_labels import StoredMaps
from attn.data.source import SourceConfig
from attn.maps import MapKind
from attn.models.output import Output

if TYPE_CHECKING:
    from attn.models.network import Network

Model = Callable[..., Output]


@dataclass(frozen=True)
class Progress:
    """Where in the run a step stands: epoch and step count from 0, `fraction` of all steps in [0, 1).

    Attributes:
        maps: The run wants the step's attention maps.
    """

    epoch: int
    step: int
    fraction: float
    maps: bool = False


@dataclass(frozen=True)
class Supervision:
    """What a method wants to know of some images beyond their labels.

    Attributes:
        kind: Masks or boxes.
        images: How many images of the training split carry it: a count, or a fraction of the split below 1.
        batch_fraction: Share of each batch that is drawn from those images.
    """

    kind: Literal["masks", "boxes"]
    images: float
    batch_fraction: float


@dataclass(frozen=True)
class SourceStream:
    """A second stream of images that a method trains on; each step finds its images in `batch.source_batch`.

    Attributes:
        source: The method's own field `source`.
        batch_size: Its images of one optimiser step, over all workers; as many as the run's own where None.
        saliency: Every image comes with its saliency map.
        single_label: Every image must have exactly one class.
    """

    source: SourceConfig
    batch_size: int | None = None
    saliency: bool = False
    single_label: bool = False


@dataclass(frozen=True)
class Auxiliary:
    """A second network, which only training needs, and its own optimiser.

    The trainer moves it to the device, runs the backward pass of its loss, averages its gradients over the workers,
    updates it with every step of the network's own optimiser, and keeps both in the checkpoint.

    Attributes:
        loss: Name of the step's loss that trains it. The graph of that loss holds no other parameters, and the graph of
            `loss` holds none of these.
    """

    loss: str
    module: nn.Module
    optimizer: torch.optim.Optimizer


class MethodConfig(Variant, tag="name"):
    """A method's own configuration; `name` chooses the method."""

    @property
    def soft_labels(self) -> StoredMaps | None:
        """The stored maps that it learns from, or None."""
        return None

    @property
    def needs_class_maps(self) -> bool:
        """Whether it reads the class-aware convolution, which only a network with `head: conv` has."""
        return False

    @property
    def source_stream(self) -> SourceStream | None:
        """The second stream of images that it trains on, or None."""
        return None

    def least_images(self, images: int, source_images: int) -> int:
        """The fewest images of one pass in training mode, for a batch of its own images and of the second stream's."""
        return images

    def resolved_versions(self) -> Self:
        """The same with everything named that would otherwise be taken as it is found, such as the newest version."""
        return self

    def build(self) -> Method:
        raise TypeError(f"{type(self).__name__} does not say how to build its method")

    def terms(self, epoch: int) -> tuple[str, ...]:
        """Names of the losses beside `loss` that a step gives in an epoch, counted from 0; the run records these."""
        raise TypeError(f"{type(self).__name__} does not say which losses its steps have")

    def idle_fields(self, epoch: int) -> frozenset[str]:
        """Its own fields that change neither the training in an epoch (from 0) nor the map that it is scored by.

        During a warm-up `warmup_epochs` is one of them: a longer one is the same so far.
        """
        return frozenset()


class Method(Protocol):
    """How to turn a batch and a network into a loss.

    A method does no I/O, moves nothing between devices, leaves the network's mode alone and leaves no hook behind.

    Attributes:
        layers: Feature layers that the network must expose, besides `last`.
        layer: Feature layer whose map this method trains, `last` where it trains none.
        map_kind: The attention map that this method trains or, where it trains none, is evaluated by.
        supervision: Extra supervision that it needs, or None.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def layer(self) -> str: ...

    @property
    def map_kind(self) -> MapKind: ...

    @property
    def supervision(self) -> Supervision | None: ...

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """Compute the losses of a batch and, with `progress.maps`, its attention maps.

        A method that has the maps anyway does not compute them again.
        """
        ...


@dataclass(frozen=True)
class StepMaps:
    """A step's attention maps and the scores beside them, without a graph.

    Attributes:
        maps: (N, h, w), of `pairs_of(batch.labels)` in that order, not normalised.
        logits: (B, C), scores of the unchanged images.
    """

    maps: Tensor
    logits: Tensor

    @classmethod
    def of(cls, output: Output, maps_Nhw: Tensor) -> Self:
        """Detach a step's maps, and the scores that the network gave the unchanged images."""
        return cls(maps_Nhw.detach(), output.logits.detach())


@dataclass(frozen=True)
class StepOutput:
    """What a step computed.

    Attributes:
        losses: Scalars by name: `loss`, with its graph, and every term of it, unweighted and detached, for the record.
            The loss of an auxiliary network has a graph, too. All are means over images, so that the mean over workers
            is the value of the joint batch.
        maps: None unless `progress.maps` asked for them.
    """

    losses: dict[str, Tensor]
    maps: StepMaps | None = None


@runtime_checkable
class HasAuxiliary(Protocol):
    """A method that may train a second network beside the first."""

    def auxiliary(self, network: Network) -> Auxiliary | None:
        """Make the second network for the first; called once, before the first step."""
        ...
