"""The scores of `attn evaluate` while a classifier trains, each worker counting its share of the images."""

from __future__ import annotations

__all__ = ["evaluate_classifier", "score_classifier"]

import torch

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.source import Source
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.compute import compute_scores
from attn.evaluation.config import ScoringConfig
from attn.evaluation.evaluate import count
from attn.evaluation.refined import MapRefinement
from attn.evaluation.result import DataDescription
from attn.evaluation.score import Score
from attn.maps.refine import Refiner
from attn.models.network import Network
from attn.training.train_config import TrainConfig
from attn.training.world import World

IMAGES = 16
"""Of one forward pass, as `attn evaluate` has them."""


def score_classifier(
    network: Network, source: Source, config: TrainConfig, world: World, *, refiner: Refiner | None, maps: bool = True
) -> dict[str, float]:
    """The values of `evaluate_classifier` by name."""
    scores = evaluate_classifier(network, source, config, world, refiner=refiner, maps=maps)
    return {name: score.value for name, score in scores.items()}


def evaluate_classifier(
    network: Network,
    source: Source,
    config: TrainConfig,
    world: World,
    *,
    refiner: Refiner | None,
    data: DataDescription | None = None,
    maps: bool = True,
) -> dict[str, Score]:
    """Score the classifier and its attention maps; the network's mode is put back.

    Args:
        refiner: That of `config.validation.maps.refine`, which a training opens once.
        data: Of the source, for the protocols; without it they are those of no data.
        maps: Score the maps too, on the images with masks.

    Returns:
        Scores by name, the same on every rank; without scores that the data does not permit.
    """
    refinement = MapRefinement(refiner.to(world.device), source) if maps and refiner else None
    shares = world.gather(
        world.all_or_raise(lambda: _share(network, source, config, world, maps=maps, refinement=refinement))
    )

    def scores() -> dict[str, Score]:
        whole, method = _joined(shares, source), config.method.build()
        described = data or DataDescription(source=config.data.variant, split="", resize="")
        return compute_scores(
            whole, source.classes, whole.config, described,
            map_kind=method.map_kind, layer=method.layer, settings=config.validation.maps,
            refinement=refinement and refinement.description,
        ).scores  # fmt: skip

    return world.gather(world.all_or_raise(lambda: scores() if world.rank == 0 else {}))[0]


def _joined(shares: list[ScoreAccumulator], source: Source) -> ScoreAccumulator:
    """What all workers counted, in the data's order."""
    whole = shares[0]
    for share in shares[1:]:
        whole.merge(share)
    whole.sort([record.image_id for record in source.records])
    return whole


def _share(
    network: Network,
    source: Source,
    config: TrainConfig,
    world: World,
    *,
    maps: bool,
    refinement: MapRefinement | None = None,
) -> ScoreAccumulator:
    """What is counted of this worker's images: every n-th, as those with masks, which cost most, may be neighbours."""
    method, training = config.method.build(), network.training
    scoring = ScoringConfig(layer=method.layer, average_precision=config.validation.average_precision, maps=maps)
    settings = config.validation.maps
    dataset = AttentionDataset(
        source,
        config.input,
        train=False,
        with_masks=maps,
        scales=settings.other_scales if maps else (),
        stride=config.model.output_stride,
    )
    own = range(world.rank, len(dataset), world.size)
    size = 1 if config.input.resize == "short_side" else IMAGES  # only equal inputs make a batch
    batches = [own[start : start + size] for start in range(0, len(own), size)]
    loader = build_loader(dataset, batches, workers=config.cluster.loaders if batches else 0)
    network.expose(method.layer)
    try:
        with torch.random.fork_rng(devices=[]):
            counted, _ = count(
                network,
                loader,
                len(source.classes),
                scoring,
                method.map_kind,
                world.device,
                settings=settings,
                refinement=refinement,
                own=own,
            )
    finally:
        network.train(training)
    return counted
