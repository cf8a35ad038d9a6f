"""The interface and the registry of training methods.

A method is one file in this folder: a config derived from `MethodConfig` with its own `name`, and a class with a
`step`, which the config's `build` creates. No other file of `attn` needs to be changed; CONTRIBUTING.md lists its
tests, recipe and page.
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
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self, runtime_checkable

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
    """The position of a step in the run.

    Attributes:
        epoch: Epoch, from 0.
        step: Step, from 0.
        fraction: Fraction of all steps that are done, in [0, 1).
        maps: Whether the step must also return its attention maps.
    """

    epoch: int
    step: int
    fraction: float
    maps: bool = False


@dataclass(frozen=True)
class Supervision:
    """Extra supervision of some images, besides their labels.

    Attributes:
        kind: Masks or boxes.
        images: Number of training images with extra supervision: a count, or a fraction of the split below 1.
        batch_fraction: Share of each batch that is drawn from these images, for extra supervision alone.
        choice: How these images are chosen.
        ids: The images themselves, in place of a number of them.
        id_list: Text file with one image id a line; the images are chosen from these.
        first_epoch: The first epoch with extra supervision, from 0.
    """

    kind: Literal["masks", "boxes"]
    images: float
    batch_fraction: float
    choice: Literal["balanced", "random"] = "balanced"
    ids: tuple[str, ...] = ()
    id_list: str | None = None
    first_epoch: int = 0


@dataclass(frozen=True)
class SourceStream:
    """A second stream of training images; each step gets them in `batch.source_batch`.

    Attributes:
        source: The method's own field `source`.
        batch_size: Its images per optimiser step, over all workers; None: as many as the run's own.
        images: Number of its images to draw from it: a count, or a fraction below 1; None: all.
        saliency: Whether images come with saliency maps.
        single_label: Whether every image must have exactly one class.
    """

    source: SourceConfig
    batch_size: int | None = None
    images: float | None = None
    saliency: bool = False
    single_label: bool = False


@dataclass(frozen=True)
class Auxiliary:
    """A second network with its own optimiser, used in training only.

    The trainer moves it to the device, runs the backward pass of its loss, averages its gradients over the workers,
    updates it with every step of the main optimiser, and stores both in the checkpoint.

    Attributes:
        loss: Name of the step's loss that trains it. That loss must depend on no other parameters, and the main `loss`
            on none of these.
        module: The network.
        optimizer: Its optimiser.
    """

    loss: str
    module: nn.Module
    optimizer: torch.optim.Optimizer


class MethodConfig(Variant, tag="name"):
    """Configuration of a method; `name` selects the method. `paper` names the source of the method."""

    paper: ClassVar[str] = ""

    @property
    def soft_labels(self) -> StoredMaps | None:
        """The stored maps that the method learns from, or None."""
        return None

    @property
    def needs_class_maps(self) -> bool:
        """Return whether the method needs a class-aware convolution, which only a network with `head: conv` has."""
        return False

    @property
    def source_stream(self) -> SourceStream | None:
        """The second stream of images that the method trains on, or None."""
        return None

    @property
    def weighs_classes(self) -> bool:
        """Whether the classification loss takes `batch.class_weights`; `training.class_weights` needs it."""
        return False

    def least_images(self, images: int, source_images: int) -> int:
        """The smallest number of images in one forward pass of a step.

        Args:
            images: The run's own images of the step.
            source_images: Images of the second stream.
        """
        return images

    def resolved_versions(self) -> Self:
        """This config with explicit versions instead of "the newest"."""
        return self

    def build(self) -> Method:
        raise TypeError(f"{type(self).__name__} does not define `build`")

    def terms(self, epoch: int) -> tuple[str, ...]:
        """Names of the losses besides `loss` that a step returns in an epoch (from 0); the run records them.

        A step leaves out those that no row of its batch is drawn for; see `Batch.supervised`.
        """
        raise TypeError(f"{type(self).__name__} does not define `terms`")

    def idle_fields(self, epoch: int) -> frozenset[str]:
        """Fields that affect neither the training in an epoch (from 0) nor the map that is scored.

        During a warm-up `warmup_epochs` is among them, as another length has no effect until it ends.
        """
        return frozenset()


class Method(Protocol):
    """Computes the losses of a batch.

    A method does no I/O, moves nothing between devices, does not change the network's mode and leaves no hooks.

    Attributes:
        layers: Feature layers besides `last` that the network must expose.
        layer: Feature layer of the map that the method trains; `last` if it trains none.
        map_kind: Kind of map that the method trains; if it trains none, the kind used in evaluation.
        supervision: Extra supervision that the method needs, or None.
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
        """Compute the losses of a batch and, if `progress.maps` is set, its attention maps."""
        ...


@dataclass(frozen=True)
class StepMaps:
    """A step's attention maps and logits, without a graph.

    Attributes:
        maps: (N, h, w), in the order of `batch.pairs`, not normalised.
        logits: (B, C), logits of the original images.
    """

    maps: Tensor
    logits: Tensor

    @classmethod
    def of(cls, output: Output, maps_Nhw: Tensor) -> Self:
        """Detach a step's maps and the logits of its original images."""
        return cls(maps_Nhw.detach(), output.logits.detach())


@dataclass(frozen=True)
class StepOutput:
    """The result of a step.

    Attributes:
        losses: Scalars by name: `loss` with its graph, and each of its terms, unweighted and detached, for the record.
            The loss of an auxiliary network has a graph, too. All are means over images, so that the mean over workers
            is the value of the joint batch.
        maps: Attention maps if `progress.maps` is set, else None.
    """

    losses: dict[str, Tensor]
    maps: StepMaps | None = None


@runtime_checkable
class HasAuxiliary(Protocol):
    """A method that may train a second network."""

    def auxiliary(self, network: Network) -> Auxiliary | None:
        """Create the second network for the main network. Called once, before the first step."""
        ...
