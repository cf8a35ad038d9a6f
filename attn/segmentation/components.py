"""The components that train a segmentation network, built from a run's config."""

from __future__ import annotations

__all__ = ["SegmenterComponents", "build_components", "crf_processes"]

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from attn.data.loader import build_loader
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.segmentation.config import SegmentConfig
from attn.segmentation.crf_pool import LocalCrfPool, spare_cores
from attn.segmentation.dataset import SegmentationDataset
from attn.segmentation.labels import read_labels
from attn.segmentation.methods import CrfMethodConfig, SegmentationMethod
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.only_background import BackgroundWatch
from attn.segmentation.refinement import Refinement
from attn.segmentation.validation import validate, validation_matrix
from attn.training.components import TrainingComponents
from attn.training.inputs import check_inputs
from attn.training.sources import build_sampler, build_source, build_validation

if TYPE_CHECKING:
    from attn.segmentation.pictures import SegmentationPreview
    from attn.training.world import World


@dataclass(frozen=True)
class SegmenterComponents(TrainingComponents):
    """The objects of one worker that trains a segmentation network."""

    method: SegmentationMethod
    network: SegmentationNetwork
    dataset: SegmentationDataset
    config: SegmentConfig
    val_source: Source | None
    background: BackgroundWatch = field(default_factory=BackgroundWatch, kw_only=True)

    def validate(self, world: World, autocast: contextlib.AbstractContextManager[Any]) -> dict[str, float]:
        if self.val_source is None:
            return {}
        config = self.config
        matrix = validation_matrix(self.network, self.val_source, config.input, config.inference, world, autocast)
        self.background.add(matrix)
        return validate(matrix)

    def notice(self, epoch: int, epochs: int) -> str | None:
        return self.background.notice(epoch, epochs, self.config.optimizer.lr)

    def previewer(self, count: int) -> SegmentationPreview:
        from attn.segmentation.pictures import SegmentationPreview

        labels = None if self.val_source is not None else self.dataset.labels
        source = self.val_source or self.source
        return SegmentationPreview(source, self.network, self.config.input, self.config.inference, count, labels=labels)


def build_components(
    config: SegmentConfig, *, rank: int, world: int, sources: SourceCache | None = None
) -> SegmenterComponents:
    """Build a worker's data, network and method; the initial weights are the same on every rank.

    Args:
        sources: Holds the data sets that this process has built already.

    Raises:
        AttnError: Data, labels, weights or their combination do not fit; says which.
    """
    sources = sources or SourceCache()
    check_inputs(config)
    source = build_source(config, sources)
    labels = read_labels(config.labels, source.records, source.classes)
    method = config.method.build(Refinement(config.input, LocalCrfPool(crf_processes(config, world))))
    torch.manual_seed(config.seed)
    network = config.model.build(source.classes)
    size = (config.input.size, config.input.size) if isinstance(config.input.size, int) else config.input.size
    grid = size if method.at_input else network.grid(size)
    dataset = SegmentationDataset(source, config.input, train=True, seed=config.seed, labels=labels, grid=grid)
    sampler = build_sampler(config, source, rank=rank, world=world)
    loader = build_loader(dataset, sampler, workers=config.cluster.loaders)
    return SegmenterComponents(
        source, dataset, sampler, loader, method, network, config, build_validation(config, source, sources)
    )


def crf_processes(config: SegmentConfig, world: int) -> int:
    """Number of processes that compute the CRFs of a worker's batch; 0 if the worker computes them itself.

    On a CPU the worker waits for them, so that they have its own cores. Beside a GPU they have the worker's share of
    the machine's cores, but for those that feed and drive the network.
    """
    if not isinstance(config.method, CrfMethodConfig):
        return 0
    if config.method.processes is not None:
        return config.method.processes
    if not torch.cuda.is_available():
        threads = torch.get_num_threads()
        return threads if threads > 1 else 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    return max(1, spare_cores() // here - 1 - config.cluster.loaders)
