"""The scores of `attn evaluate` while a classifier trains, each worker counting its share of the images."""

from __future__ import annotations

__all__ = ["score_classifier"]

import torch

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.source import Source
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.config import ScoringConfig
from attn.evaluation.evaluate import DataDescription, compute_scores, count
from attn.models.network import Network
from attn.training.train_config import TrainConfig
from attn.training.world import World

IMAGES = 16
"""Of one forward pass, as `attn evaluate` has them."""


def score_classifier(
    network: Network, source: Source, config: TrainConfig, world: World, *, maps: bool = True
) -> dict[str, float]:
    """Score the classifier and its attention maps; the network's mode is put back.

    Args:
        maps: Score the maps too, on the images with masks.

    Returns:
        Values by name, the same on every rank; without scores that the data does not permit.
    """
    shares = world.gather(world.all_or_raise(lambda: _share(network, source, config, world, maps=maps)))

    def scores() -> dict[str, float]:
        whole, data = shares[0], DataDescription(source=config.data.variant, split="", resize="")
        for share in shares[1:]:
            whole.merge(share)
        method = config.method.build()
        result = compute_scores(whole, source.classes, whole.config, data, map_kind=method.map_kind, layer=method.layer)
        return result.metrics()

    return world.gather(world.all_or_raise(lambda: scores() if world.rank == 0 else {}))[0]


def _share(network: Network, source: Source, config: TrainConfig, world: World, *, maps: bool) -> ScoreAccumulator:
    """What is counted of this worker's images, which are neighbours: joined by rank, they are in the data's order."""
    method, training = config.method.build(), network.training
    scoring = ScoringConfig(layer=method.layer, average_precision=config.validation.average_precision, maps=maps)
    dataset = AttentionDataset(source, config.input, train=False, with_masks=maps)
    first, stop = (len(dataset) * rank // world.size for rank in (world.rank, world.rank + 1))
    size = 1 if config.input.resize == "short_side" else IMAGES  # only equal inputs make a batch
    batches = [range(start, min(start + size, stop)) for start in range(first, stop, size)]
    network.expose(method.layer)
    try:
        with torch.random.fork_rng(devices=[]):
            counted, _ = count(
                network, build_loader(dataset, batches), len(source.classes), scoring, method.map_kind, world.device
            )
    finally:
        network.train(training)
    return counted
