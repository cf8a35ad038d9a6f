"""The components that train a classifier, built from a run's config."""

from __future__ import annotations

__all__ = ["ClassifierComponents", "build_components"]

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from attn.data.class_weights import ClassWeights, balanced_weights
from attn.data.dataset import AttentionDataset
from attn.data.label_check import constant_labels_fault
from attn.data.loader import build_loader
from attn.data.sample import Batch
from attn.data.sampler import shards
from attn.data.soft_labels import SoftLabels, open_maps
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.errors import DataError
from attn.evaluation.score import OF_MAPS
from attn.evaluation.voc import AveragePrecisionRule, Difficult, difficult_objects
from attn.maps.refine import Refiner
from attn.methods.base import HasAuxiliary, Method
from attn.models.map_size import MapSize
from attn.models.network import Network
from attn.training.components import TrainingComponents
from attn.training.inputs import check_inputs, smallest_input
from attn.training.map_scores import score_classifier
from attn.training.rectified import check_rectified
from attn.training.source_stream import SourceBatches, build_source_batches
from attn.training.sources import build_sampler, build_source, build_validation
from attn.training.supervision import supervised_images
from attn.training.train_config import TrainConfig
from attn.training.validation import validate

if TYPE_CHECKING:
    from attn.pictures.preview import Preview
    from attn.training.world import World


@dataclass(frozen=True)
class ClassifierComponents(TrainingComponents):
    """The objects of one worker that trains a classifier."""

    method: Method
    network: Network
    val_dataset: AttentionDataset | None
    val_loader: DataLoader[Batch] | None
    config: TrainConfig

    @property
    def average_precision(self) -> AveragePrecisionRule:
        return self.config.validation.average_precision

    def validate(self, world: World, autocast: contextlib.AbstractContextManager[Any]) -> dict[str, float]:
        if self.val_loader is None:
            return {}
        return validate(self.network, self.val_loader, world, autocast, rule=self.average_precision)

    def evaluate(self, wanted: Collection[str], world: World) -> dict[str, float]:
        assert self.val_dataset is not None, "these scores are refused for a run without validation"
        maps = not set(wanted).isdisjoint(OF_MAPS)
        refiner = world.all_or_raise(lambda: self.refiner if maps else None)
        return score_classifier(self.network, self.val_dataset.source, self.config, world, refiner=refiner, maps=maps)

    @cached_property
    def refiner(self) -> Refiner | None:
        """Refines the maps that are scored while training; opened once, as it may read a transformer's weights."""
        refine = self.config.validation.maps.refine
        return None if refine is None else refine.open(torch.device("cpu"))

    @property
    def val_difficult(self) -> Difficult | None:
        """Return whether validation leaves difficult objects out; None where its rule knows none."""
        if self.val_dataset is None or self.average_precision == "sklearn":
            return None
        return difficult_objects(self.val_dataset.source.records)

    def previewer(self, count: int) -> Preview:
        from attn.pictures.preview import Preview

        return Preview(self.val_dataset or self.dataset, self.network, self.method, count)


def build_components(
    config: TrainConfig, *, rank: int, world: int, sources: SourceCache | None = None
) -> ClassifierComponents:
    """Build a worker's data, network and method; the initial weights are the same on every rank.

    Args:
        sources: Holds the data sets that this process has built already.

    Raises:
        AttnError: Data, weights or their combination do not fit; says which.
    """
    sources = sources or SourceCache()
    check_inputs(config)
    method = config.method.build()
    source = build_source(config, sources)
    if fault := constant_labels_fault(source):
        raise DataError(f"data: {fault}")
    supervision = method.supervision
    supervised = supervised_images(source, supervision, config.seed)
    stored = config.method.soft_labels
    dataset = AttentionDataset(
        source,
        config.input,
        train=True,
        seed=config.seed,
        supervised=frozenset(supervised),
        region_kind=supervision.kind if supervision else "masks",
        soft_labels=SoftLabels(open_maps(stored, source), MapSize(config.model)) if stored else None,
    )
    sampler = build_sampler(config, source, rank=rank, world=world, supervision=supervision, supervised=supervised)
    val_dataset, val_loader = _validation(config, rank, world, source, sources)
    torch.manual_seed(config.seed)
    network = config.model.build(source.classes, layers=method.layers)
    check_rectified(network, method, smallest_input(config.input))
    loader = build_loader(dataset, sampler, workers=config.cluster.loaders)
    components = ClassifierComponents(
        source, dataset, sampler, loader, method, network, val_dataset, val_loader, config,
        source_batches=_source_batches(config, rank, world, source, sources),
        class_weights=_class_weights(source) if config.training.class_weights == "balanced" else None,
        auxiliary=method.auxiliary(network) if isinstance(method, HasAuxiliary) else None,
    )  # fmt: skip
    if not config.selection.metrics.isdisjoint(OF_MAPS):
        _ = components.refiner  # what it lacks is found before the first step, not at the first validation
    return components


def _class_weights(source: Source) -> ClassWeights:
    counts_C = torch.zeros(len(source.classes), dtype=torch.int64)
    for record in source.records:
        counts_C[list(record.labels)] += 1
    return balanced_weights(counts_C, len(source.records))


def _source_batches(
    config: TrainConfig, rank: int, world: int, source: Source, sources: SourceCache
) -> SourceBatches | None:
    wanted = config.method.source_stream
    if wanted is None:
        return None
    return build_source_batches(
        wanted,
        sources.get(wanted.source),
        config.input,
        source.classes,
        batch_size=(wanted.batch_size or config.training.batch_size) // (world * config.training.accumulate_steps),
        rank=rank,
        world=world,
        seed=config.seed,
        shuffle=config.training.shuffle,
        workers=config.cluster.loaders,
    )


def _validation(
    config: TrainConfig, rank: int, world: int, source: Source, sources: SourceCache
) -> tuple[AttentionDataset | None, DataLoader[Batch] | None]:
    val_source = build_validation(config, source, sources)
    if val_source is None:
        return None, None
    dataset = AttentionDataset(val_source, config.input, train=False, seed=config.seed)
    # Images that keep their aspect differ in size, and only equal ones make a batch.
    size = 1 if config.input.resize == "short_side" else max(1, config.training.batch_size // world)
    batches = shards(len(dataset), size, rank=rank, world=world)
    return dataset, build_loader(dataset, batches, workers=config.cluster.loaders)
