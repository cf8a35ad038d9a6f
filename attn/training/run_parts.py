"""What the training loop needs of a run's parts, whatever is trained."""

from __future__ import annotations

__all__ = ["Objective", "Previewer", "RunParts", "build_sampler", "build_source", "build_validation", "overlap_notices"]

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn
from torch.utils.data import DataLoader

from attn.data.classes import check_classes
from attn.data.dataset import AttentionDataset
from attn.data.overlap import shared_images
from attn.data.sample import Batch
from attn.data.sampler import BatchSampler
from attn.data.source import Source
from attn.errors import DataError
from attn.methods.base import Auxiliary, Progress, StepOutput
from attn.training.source_stream import SourceBatches

if TYPE_CHECKING:
    from attn.pictures.layout import Picture
    from attn.training.run_config import RunConfig
    from attn.training.world import World

SHOWN = 4


def build_source(config: RunConfig) -> Source:
    """The images to train on.

    Raises:
        DataError: There are none.
    """
    source = config.data.build()
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    return source


def build_validation(config: RunConfig, source: Source) -> Source | None:
    """The images to validate on; None where the run validates on nothing.

    Args:
        source: What is trained on.

    Raises:
        DataError: There is no such split, or its classes are others; names the field that chose it.
    """
    split = config.validation.split
    if split is None:
        return None
    try:
        validated = config.data.model_copy(update={"split": split}).build()
    except DataError as error:
        problem = f"validation.split={split}: {error} (set validation.split, or null to train without validation)"
        raise DataError(problem) from error
    check_classes(source.classes, validated.classes, what=f"split {config.data.split!r}", of=f"split {split!r}")
    return validated


def overlap_notices(config: RunConfig, source: Source, validated: Source | None, *more: Source) -> list[str]:
    """What a user must know of images that are both trained on and validated on; nothing where there are none.

    Args:
        source: What is trained on.
        more: Also trained on.

    Raises:
        DataError: There are some, and `validation.allow_overlap` does not say that this is meant.
    """
    if validated is None:
        return []
    shared = [pair for trained in (source, *more) for pair in shared_images(trained, validated)]
    if not shared:
        return []
    shown = ", ".join(ours if ours == theirs else f"{theirs} (trained on as {ours})" for ours, theirs in shared[:SHOWN])
    text = (
        f"{len({theirs for _, theirs in shared})} of the {len(validated.records)} images of "
        f"validation.split={config.validation.split} are also trained on (data.split={config.data.split}): {shown}"
        f"{', ...' if len(shared) > SHOWN else ''}. Their scores say nothing of other images"
    )
    if config.validation.allow_overlap:
        return [text]
    raise DataError(
        f"{text}: choose splits that share none, set validation.split=null to train without validation, or "
        "validation.allow_overlap=true where it is meant"
    )


def build_sampler(
    config: RunConfig, source: Source, *, rank: int, world: int, supervised: Sequence[int] = (), fraction: float = 0.0
) -> BatchSampler:
    """A worker's share of each batch, a part at a time where gradients are accumulated.

    Args:
        supervised: Rows of those images of which a `fraction` of each batch is made.
    """
    return BatchSampler(
        len(source.records),
        config.training.batch_size // (world * config.training.accumulate_steps),
        rank=rank,
        world=world,
        seed=config.seed,
        shuffle=config.training.shuffle,
        supervised=supervised,
        batch_fraction=fraction,
    )


class Objective(Protocol):
    """Turns a batch into losses."""

    def step(self, model: Any, batch: Batch, progress: Progress) -> StepOutput:
        """See `attn.methods.base.Method.step`."""
        ...


class Previewer(Protocol):
    """Draws the same few images again and again while a network trains."""

    def draw(self) -> Iterator[tuple[str, Picture]]:
        """Each image's id and picture; the network's mode is left as it was."""
        ...


@dataclass(frozen=True)
class RunParts(ABC):
    """The objects of one worker.

    Attributes:
        source_batches: Batches of the method's second stream of images; None for a method without one.
        auxiliary: The second network that it trains, where it has one.
    """

    source: Source
    dataset: AttentionDataset
    sampler: BatchSampler
    loader: DataLoader[Batch]
    method: Objective
    network: nn.Module
    source_batches: SourceBatches | None = field(default=None, kw_only=True)
    auxiliary: Auxiliary | None = field(default=None, kw_only=True)

    @abstractmethod
    def validate(self, world: World, autocast: contextlib.AbstractContextManager[Any]) -> dict[str, float]:
        """Scores on the validation split, the same on every rank; none where there is no such split."""

    @abstractmethod
    def previewer(self, count: int) -> Previewer:
        """Draws `count` images of the validation split or, where there is none, of the training split."""
