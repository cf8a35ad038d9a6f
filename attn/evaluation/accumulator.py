"""Everything that the scores of a classifier and its maps are computed from, image by image."""

from __future__ import annotations

__all__ = ["ScoreAccumulator"]

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from attn.data.sample import Record
from attn.evaluation.agreement import SaliencyAgreement
from attn.evaluation.classification import predicted_classes
from attn.evaluation.config import ScoringConfig
from attn.evaluation.extent import Extent
from attn.evaluation.inference import ImageMaps
from attn.evaluation.localization import DirectSweep, SeedSweep, threshold_grid


class ScoreAccumulator:
    """Accumulates everything that scores are computed from.

    Args:
        given: Score maps of the given labels; False if there are only maps of predicted classes.
        predicted: Score maps of the predicted classes; False if they depend on the given labels.

    Attributes:
        exclusive: Whether every image has exactly one class: see `attn.data.source.Source`.
        lacking: Number of images with a mask that have no map of a class that is predicted.
    """

    def __init__(
        self,
        num_classes: int,
        config: ScoringConfig,
        *,
        given: bool = True,
        predicted: bool = True,
        exclusive: bool = False,
    ) -> None:
        self.num_classes, self.given, self.predicted, self.exclusive = num_classes, given, predicted, exclusive
        grid = threshold_grid(config.thresholds)
        # The fixed threshold of the direct protocol is part of the grid.
        self.direct_grid = np.union1d(grid, [config.claim])
        self.seeds = SeedSweep(num_classes, grid)
        self.direct = DirectSweep(num_classes, self.direct_grid)
        self.extent = Extent(num_classes, grid, tolerance=config.pointing_tolerance)
        self.agreement = SaliencyAgreement(grid, config.saliency_threshold)
        self.config = config
        self.records: dict[str, Record] = {}
        self.masked: list[Record] = []
        self.parts = 0  # images with a mask of which the network saw only a part
        self.lacking = 0
        self.probabilities: list[NDArray[np.float64]] = []

    def add(self, maps: ImageMaps, saliency: Callable[[], NDArray[np.uint8]] | None = None) -> bool:
        """Add an image; False if it was added before.

        Args:
            saliency: Gives the image's saliency (H0, W0), 0 to 255.
        """
        if maps.record.image_id in self.records:
            return False
        self.records[maps.record.image_id] = maps.record
        if maps.probabilities is not None:
            self.probabilities.append(maps.probabilities)
        if self.given and self.config.maps and saliency is not None and maps.record.labels:
            self.agreement.add(maps.record, _highest(maps), saliency())
        if maps.mask is None or not self.config.maps:
            return True
        self.masked.append(maps.record)
        self.parts += not maps.whole
        if self.given:
            given = {index: maps.maps[index] for index in maps.record.labels}
            self.seeds.add(given, maps.mask)
            self.extent.add(given, maps.mask)
        if maps.probabilities is not None and self.predicted:
            likely = predicted_classes(maps.probabilities, threshold=self.config.probability, exclusive=self.exclusive)
            of_likely = maps.maps if maps.predicted_maps is None else maps.predicted_maps
            predicted = {index: of_likely[index] for index in likely if index in of_likely}
            self.lacking += len(predicted) < len(likely)
            self.direct.add(predicted, {index: float(maps.probabilities[index]) for index in predicted}, maps.mask)
        return True

    def merge(self, other: ScoreAccumulator) -> None:
        """Add the images of another one, which has none of this one's, after this one's."""
        self.exclusive = self.exclusive or other.exclusive
        self.seeds.merge(other.seeds)
        self.direct.merge(other.direct)
        self.agreement.merge(other.agreement)
        self.extent.merge(other.extent)
        self.records |= other.records
        self.masked += other.masked
        self.parts += other.parts
        self.lacking += other.lacking
        self.probabilities += other.probabilities

    def sort(self, order: Sequence[str]) -> None:
        """Bring the images into an order.

        Args:
            order: Ids, with those of all images among them.
        """
        positions = {image_id: position for position, image_id in enumerate(order)}
        rows = sorted(range(len(self.records)), key=[positions[image_id] for image_id in self.records].__getitem__)
        if self.probabilities:
            self.probabilities = [self.probabilities[row] for row in rows]
        records = list(self.records.values())
        self.records = {records[row].image_id: records[row] for row in rows}
        self.masked.sort(key=lambda record: positions[record.image_id])

    def labels(self) -> NDArray[np.int64]:
        labels = np.zeros((len(self.records), self.num_classes), np.int64)
        for row, record in enumerate(self.records.values()):
            labels[row, list(record.labels)] = 1
        return labels


def _highest(maps: ImageMaps) -> NDArray[np.float32]:
    """The highest map of the given labels at each pixel; one map at a time is in memory."""
    first, *rest = maps.record.labels
    highest = maps.maps[first]
    for label in rest:
        highest = np.maximum(highest, maps.maps[label])
    return highest
