"""The objects that one worker trains with, whatever it trains."""

from __future__ import annotations

__all__ = ["Objective", "Previewer", "TrainingComponents"]

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn
from torch.utils.data import DataLoader

from attn.data.class_weights import ClassWeights
from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch
from attn.data.sampler import BatchSampler
from attn.data.source import Source
from attn.methods.base import Auxiliary, Progress, StepOutput
from attn.training.source_stream import SourceBatches

if TYPE_CHECKING:
    from attn.pictures.layout import Picture
    from attn.training.world import World


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
class TrainingComponents(ABC):
    """The objects of one worker.

    Attributes:
        source_batches: Batches of the method's second stream of images; None for a method without one.
        auxiliary: The second network that it trains, where it has one.
        class_weights: Weights of the classification loss, if it has some.
    """

    source: Source
    dataset: AttentionDataset
    sampler: BatchSampler
    loader: DataLoader[Batch]
    method: Objective
    network: nn.Module
    source_batches: SourceBatches | None = field(default=None, kw_only=True)
    auxiliary: Auxiliary | None = field(default=None, kw_only=True)
    class_weights: ClassWeights | None = field(default=None, kw_only=True)

    @abstractmethod
    def validate(self, world: World, autocast: contextlib.AbstractContextManager[Any]) -> dict[str, float]:
        """Scores on the validation split, the same on every rank; none where there is no such split."""

    def evaluate(self, wanted: Collection[str], world: World) -> dict[str, float]:
        """Scores of `attn evaluate` on the validation split, the same on every rank; only classifiers have some.

        Args:
            wanted: Names of the scores that are needed; others may come with them.
        """
        raise TypeError(f"{type(self).__name__} has no scores of attn evaluate: {', '.join(sorted(wanted))}")

    def notice(self, epoch: int, epochs: int) -> str | None:
        """A message about what the validations so far show, each once.

        Args:
            epoch: That has just been validated, from 1.
        """
        return None

    @abstractmethod
    def previewer(self, count: int) -> Previewer:
        """Draws `count` images of the validation split or, where there is none, of the training split."""
