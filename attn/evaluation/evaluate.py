"""Scores a network on a data set: classification and attention maps in one pass."""

from __future__ import annotations

__all__ = ["count", "evaluate"]

from collections.abc import Callable, Container, Iterable, Sequence

import torch
from torch import nn

from attn.data.sample import Batch
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.classification import predicted_classes
from attn.evaluation.compute import evaluation_of
from attn.evaluation.config import ScoringConfig
from attn.evaluation.faithfulness import Faithfulness
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.refined import MapRefinement
from attn.evaluation.result import DataDescription, Evaluation
from attn.maps.attention import MapKind
from attn.maps.settings import PLAIN, MapSettings
from attn.saliency.source import SaliencySource


def evaluate(
    network: nn.Module,
    loader: Iterable[Batch],
    classes: Sequence[str],
    config: ScoringConfig,
    map_kind: MapKind,
    device: torch.device,
    *,
    data: DataDescription,
    settings: MapSettings = PLAIN,
    refinement: MapRefinement | None = None,
    observe: Callable[[ImageMaps], None] | None = None,
    faithfulness: Faithfulness | None = None,
    saliency: SaliencySource | None = None,
) -> Evaluation:
    """Score a network. Its mode is restored, and each image counts once even if the loader repeats it.

    Maps are scored on the images with a mask, at the image's own size, with two protocols: the seed protocol (maps of
    the given labels) and the direct protocol (maps of the predicted classes).

    Args:
        classes: Names in the order of the logits and labels.
        settings: How the maps are made; the loader's batches have the images at its `other_scales`.
        refinement: Of the maps, by the images of the data that the loader loads.
        observe: Called with each image's maps.
        faithfulness: Also score insertion and deletion of its images.
        saliency: The loader's images with saliency, to choose a threshold without masks.

    Raises:
        DataError: The loader has no images.
        ConfigError: The network lacks what the map needs.
    """
    observers = [one for one in (faithfulness and faithfulness.add, observe) if one is not None]

    def observe_all(maps: ImageMaps) -> None:
        for observer in observers:
            observer(maps)

    counted, skipped = count(
        network,
        loader,
        len(classes),
        config,
        map_kind,
        device,
        settings=settings,
        refinement=refinement,
        observe=observe_all,
        saliency=saliency,
    )
    return evaluation_of(
        counted,
        skipped,
        tuple(classes),
        config,
        data,
        map_kind=map_kind,
        layer=config.layer or "last",
        settings=settings,
        refinement=refinement and refinement.description,
        faithfulness=faithfulness,
        saliency=saliency and saliency.description,
    )


def count(
    network: nn.Module,
    loader: Iterable[Batch],
    num_classes: int,
    config: ScoringConfig,
    map_kind: MapKind,
    device: torch.device,
    *,
    settings: MapSettings = PLAIN,
    refinement: MapRefinement | None = None,
    observe: Callable[[ImageMaps], None] | None = None,
    own: Container[int] | None = None,
    saliency: SaliencySource | None = None,
) -> tuple[ScoreAccumulator, set[str]]:
    """Everything that the scores of these images are computed from, and the ids of unreadable images.

    Several processes may each count some of the images, and merge what they counted.

    Args:
        own: Positions in the data of the images that count; None: all. The loader may give others in place of
            unreadable images.
        saliency: As in `evaluate`.
    """
    counted = ScoreAccumulator(num_classes, config)
    skipped: set[str] = set()
    for batch in loader:
        skipped.update(batch.skipped)
        counted.exclusive = batch.exclusive
        results = image_maps(
            network,
            batch.to(device),
            kind=map_kind,
            layer=config.layer or "last",
            predicted=True,
            probability=config.probability,
            maps=config.maps,
            grid=refinement and refinement.grid,
            settings=settings,
        )
        for position, maps in zip(batch.indices, results, strict=True):
            if own is not None and position not in own:
                continue
            final = maps
            if refinement is not None:
                assert maps.probabilities is not None
                likely = predicted_classes(maps.probabilities, threshold=config.probability, exclusive=batch.exclusive)
                final = refinement.of_image(position, maps, predicted=likely)
            if counted.add(final, saliency and saliency.reader(position)) and observe is not None:
                observe(final)
    return counted, skipped
