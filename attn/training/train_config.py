"""The configuration of a training run, put together from its components' own."""

from __future__ import annotations

__all__ = ["TrainConfig"]

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from attn.evaluation.score import OF_CLASSIFIER, OF_MAPS
from attn.methods import MethodConfig
from attn.models.network import ModelConfig, Network
from attn.training.config import StoreConfig
from attn.training.inputs import map_scale_faults, training_faults
from attn.training.network_faults import network_faults
from attn.training.network_input import own_input
from attn.training.run_config import RunConfig, check_batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from attn.data.transforms import InputConfig
    from attn.errors import Fault
    from attn.maps.settings import MapSettings


class TrainConfig(RunConfig):
    """Training a classifier with attention maps."""

    kind: Literal["train"] = "train"  # pyright: ignore[reportIncompatibleVariableOverride]
    model: ModelConfig
    method: MethodConfig
    store: StoreConfig = StoreConfig()

    @property
    def title(self) -> str:
        return self.method.variant

    @property
    def accumulates(self) -> bool:
        return self.store.accumulate

    @property
    def validation_scores(self) -> tuple[str, ...]:
        return ("val/mean_ap", "val/mean_auc", "val/loss", "val/accuracy")

    def loss_terms(self, epoch: int) -> tuple[str, ...]:
        return self.method.terms(epoch)

    def first_stopping(self, epochs: int) -> int:
        first = super().first_stopping(epochs)
        return max(first, self.store.start_epoch) if self.store.accumulate else first

    @property
    def evaluated_scores(self) -> tuple[str, ...]:
        return (*OF_CLASSIFIER, *OF_MAPS)

    @property
    def supervised_share(self) -> float:
        wanted = self.method.build().supervision
        return 0.0 if wanted is None else wanted.batch_fraction

    def resolved_versions(self) -> Self:
        return self.model_copy(update={"method": self.method.resolved_versions()})

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        if self.validation.split is None or not self.selection.metrics.isdisjoint(OF_MAPS):
            return {}
        return {"checkpoint.best": ("validation.maps",)}

    def input_faults(self, prefix: str = "") -> list[Fault]:
        if faults := network_faults(prefix, self._bare_network, self.model.freeze_stages, self.method.build().layers):
            return faults
        stream, shards = self.method.source_stream, self.cluster.most_workers * self.training.accumulate_steps
        images = self.training.batch_size // shards
        others = 0 if stream is None else (stream.batch_size or self.training.batch_size) // shards
        least, more = (self.method.least_images(times * images, times * others) for times in (1, 2))
        faults = training_faults(self, prefix, self.model, self._bare_network, least, by_batch=more > least)
        return faults or self.map_faults(self.input, self.validation.maps, f"{prefix}validation.maps.")

    def map_faults(self, input: InputConfig, maps: MapSettings, prefix: str) -> list[Fault]:
        """Scales of maps of the trained classifier that make inputs that it cannot take.

        Args:
            prefix: Of the fields of `maps` in the faults.
        """
        return map_scale_faults(self.model, self._bare_network, input, maps, prefix)

    def _bare_network(self, layers: Sequence[str] = ()) -> Network:
        return Network(self.model.model_copy(update={"weights": None, "fc_width": 1, "head_width": 1}), 1, layers)

    @model_validator(mode="after")
    def _choose_input(self) -> Self:
        object.__setattr__(self, "input", own_input(self.input, self.model.name))
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.method.needs_class_maps and self.model.head != "conv":
            raise ValueError(
                f"method.name={self.method.variant} reads the class-aware convolution, which "
                f"model.head={self.model.head} lacks: set model.head=conv"
            )
        if self.training.class_weights is not None and not self.method.weighs_classes:
            why = (
                "has two streams of images with frequencies of their own"
                if self.method.source_stream is not None
                else "has no classification loss that takes weights"
            )
            raise ValueError(
                f"training.class_weights={self.training.class_weights}: method.name={self.method.variant} {why}; set "
                "training.class_weights=null"
            )
        if self.store.accumulate and self.training.sampling == "balanced":
            raise ValueError(
                "store.accumulate needs the maps of all images in every epoch, and training.sampling=balanced leaves "
                "some out: set training.sampling=uniform, or training.class_weights=balanced in its place"
            )
        if (stream := self.method.source_stream) is not None:
            shards = self.cluster.most_workers * self.training.accumulate_steps
            check_batch("method.source_batch_size", stream.batch_size or shards, shards)
            if self.input.resize == "short_side":
                raise ValueError(
                    f"method.name={self.method.variant} puts images of two sources into one batch, which needs inputs "
                    "of one size: set input.resize to squash or crop, not short_side"
                )
        if self.store.accumulate and self.store.start_epoch >= self.training.epochs:
            raise ValueError(
                f"store.start_epoch={self.store.start_epoch} leaves none of training.epochs={self.training.epochs} to "
                "accumulate: lower it, or train longer"
            )
        if self.store.accumulate and self.store.fallback == "last" and self.training.early_stopping is not None:
            raise ValueError(
                "store.fallback=last takes the maps of the last epoch, and training.early_stopping does not know in "
                "advance which one that is: set store.fallback=none, or training.early_stopping=null"
            )
        if self.store.accumulate and self.training.steps is not None:
            raise ValueError(
                f"store.accumulate needs whole epochs, of which training.steps={self.training.steps} may cut the last "
                "one short: set training.epochs, and training.steps=null"
            )
        return self
