"""Scores the maps of a map store, resized to the images' sizes, like maps of a network.

Shapes: H0×W0 image, h×w grid of the store.
"""

from __future__ import annotations

__all__ = ["count_stored", "evaluate_stored", "maps_at_size"]

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.geometry import Geometry
from attn.data.sample import Example
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.classification import predicted_classes
from attn.evaluation.compute import evaluation_of
from attn.evaluation.config import ScoringConfig
from attn.evaluation.inference import ImageMaps
from attn.evaluation.refined import MapRefinement, refine_by_labels, refine_predicted
from attn.evaluation.result import DataDescription, Evaluation
from attn.maps import normalize_max
from attn.maps.refine import is_joint
from attn.maps.settings import PLAIN, MapSettings
from attn.saliency.source import SaliencySource

if TYPE_CHECKING:
    from attn.store import Snapshot

Probabilities = Mapping[str, NDArray[np.float64]]


def evaluate_stored(
    snapshot: Snapshot,
    source: Source,
    config: ScoringConfig,
    *,
    data: DataDescription,
    map_kind: str,
    settings: MapSettings = PLAIN,
    refinement: MapRefinement | None = None,
    before: dict[str, Any] | None = None,
    given: bool = True,
    probabilities: Probabilities | None = None,
    observe: Callable[[ImageMaps], None] | None = None,
    saliency: SaliencySource | None = None,
) -> Evaluation:
    """Score the maps of a store's version on a data set. Each map is divided by its own maximum at the image's size.

    Args:
        snapshot: The version. If `given` is set it must have a row for every label of every image: see
            `attn.data.soft_labels.open_maps`.
        map_kind: Kind of the maps, for the protocol.
        settings: How the maps were made, for the protocol.
        refinement: Of the maps.
        before: Refinement that the stored maps have had already, for the protocol.
        given: Score the maps of the given labels with the seed protocol.
        probabilities: Predictions, float64 (C,) by image id, for all images. With them the classifier is scored too,
            and the maps of the predicted classes if the version has rows for all of them.
        observe: Called with each image's maps.
        saliency: The same images with saliency, to choose a threshold without masks.

    Raises:
        DataError: There is no image, an image cannot be read, or an image lacks a prediction.
    """
    counted, skipped = count_stored(
        snapshot,
        source,
        range(len(source.records)),
        config,
        refinement=refinement,
        before=before,
        given=given,
        probabilities=probabilities,
        observe=observe,
        saliency=saliency,
    )
    return evaluation_of(
        counted,
        skipped,
        tuple(source.classes),
        config,
        data,
        map_kind=map_kind,
        layer=None,
        settings=settings,
        refinement=before if refinement is None else refinement.described(before),
        saliency=saliency and saliency.description,
    )


def count_stored(
    snapshot: Snapshot,
    source: Source,
    positions: range,
    config: ScoringConfig,
    *,
    refinement: MapRefinement | None = None,
    before: dict[str, Any] | None = None,
    given: bool = True,
    probabilities: Probabilities | None = None,
    observe: Callable[[ImageMaps], None] | None = None,
    saliency: SaliencySource | None = None,
) -> tuple[ScoreAccumulator, list[str]]:
    """Everything that the scores of some images are computed from, and the ids of unreadable images.

    Args:
        positions: Of the images in the data. The others are as in `evaluate_stored`.
    """
    mixed = given and is_joint(before)
    counted = ScoreAccumulator(
        len(source.classes), config, given=given, predicted=not mixed, exclusive=source.exclusive
    )
    skipped = list[str]()
    for index in positions:
        record = source.records[index]
        try:
            example = source.load(index, mask=True, saliency=False)
        except DataError:
            if source.on_error == "raise":
                raise
            skipped.append(record.image_id)
            continue
        if probabilities is not None and record.image_id not in probabilities:
            raise DataError(f"image {record.image_id!r} has no prediction; give predictions of this data set")
        of_image, likely = None, ()
        if probabilities is not None:
            of_image = probabilities[record.image_id]
            likely = predicted_classes(of_image, threshold=config.probability, exclusive=source.exclusive)
        maps, of_likely = _maps(snapshot, example, refinement, record.labels if given else (), likely)
        result = ImageMaps(record, of_image, maps, example.mask, predicted_maps=of_likely)
        if counted.add(result, saliency and saliency.reader(index)) and observe is not None:
            observe(result)
    return counted, skipped


def _maps(
    snapshot: Snapshot,
    example: Example,
    refinement: MapRefinement | None,
    given: Sequence[int],
    likely: Sequence[int],
) -> tuple[dict[int, NDArray[np.float32]], dict[int, NDArray[np.float32]] | None]:
    """An image's maps at its size, and those of the likely classes where they are others: see `ImageMaps`."""
    stored: Mapping[int, NDArray[Any]]
    try:
        stored = snapshot[example.record.image_id]
    except KeyError:  # no row: the image has no labels, or no predicted class in a store of predicted classes
        stored = dict[int, NDArray[np.uint8]]()
    size, apart = (example.image.shape[0], example.image.shape[1]), None
    if refinement is not None:
        apart = refine_predicted(refinement.refiner, example.image, stored, given, likely)
        stored = refine_by_labels(refinement.refiner, example.image, stored, given)
    rows = snapshot.classes_of(example.record.image_id)
    empty = {
        label: np.zeros(size, np.float32)
        for label in (*given, *(label for label in likely if label in rows))
        if label not in stored
    }
    at_size = empty | maps_at_size(stored, size)
    if apart is None:
        return at_size, None
    return at_size, {label: empty[label] for label in likely if label in empty} | maps_at_size(apart, size)


def maps_at_size(maps: Mapping[int, NDArray[Any]], size: tuple[int, int]) -> dict[int, NDArray[np.float32]]:
    """Stored maps (h, w) resized to an image of `size` (H0, W0), each divided by its maximum there."""
    if not maps:
        return {}
    maps_Nhw = torch.from_numpy(np.stack(list(maps.values()))).float()
    in_image, _ = Geometry.whole(size).to_image(maps_Nhw)
    return dict(zip(maps, normalize_max(in_image).numpy(), strict=True))
