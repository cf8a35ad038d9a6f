"""Predictions of a classifier: labels, attention maps, and a mask from the maps. Shapes: C classes, H0×W0 image."""

from __future__ import annotations

__all__ = ["ClassifierPredictor", "mask_of_maps"]

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.sample import Record, Sample, collate
from attn.data.transforms import at_scale, prepare, sufficient_side, to_input
from attn.evaluation.inference import ImageMaps, MapsOnDemand, image_maps, strips
from attn.evaluation.refined import at_image
from attn.maps.dense_crf import OAA_CRF, CrfConfig, check_crf, dense_crf
from attn.maps.refine import refine_by_class
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.models.usage import PROBABILITY
from attn.prediction.config import WITHOUT_CRF, ImagePredictConfig
from attn.prediction.predictor import ImagePrediction, MapRows, SizedImage, mask_values
from attn.training.inputs import check_input

THRESHOLD = 0.3


class ClassifierPredictor:
    """See `attn.prediction.Predictor`."""

    task = "classification"

    def __init__(self, bundle: Bundle, config: ImagePredictConfig) -> None:
        self.config, self._bundle = config, bundle
        if config.crf:
            check_crf("crf=True", WITHOUT_CRF)
        self._device = choose_device(config.device)
        self._network = bundle.network.to(self._device)
        self._network.expose(bundle.layer)
        check_input(bundle.network, bundle.input, config.maps)
        self._refiner = None if config.maps.refine is None else config.maps.refine.open(self._device)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._bundle.classes

    @property
    def sha256(self) -> str:
        return self._bundle.sha256

    @property
    def maps(self) -> dict[str, Any]:
        described = self.config.maps.described()
        return described if self._refiner is None else described | {"refinement": self._refiner.description}

    @property
    def min_side(self) -> int | None:
        side = None if self.config.crf or self._refiner else sufficient_side(self._bundle.input)
        return None if side is None else math.ceil(side * max(1, *self.config.maps.scales))

    def __call__(self, image_HW3: NDArray[np.uint8], size: tuple[int, int] | None = None) -> ImagePrediction:
        return self.batch([(image_HW3, size)])[0]

    def batch(self, images: Sequence[SizedImage]) -> list[ImagePrediction]:
        wanted = () if self.config.classes is None else tuple(map(self.classes.index, self.config.classes))
        samples = [self._sample(position, image, tuple(sorted(wanted))) for position, (image, _) in enumerate(images)]
        by_shape: dict[torch.Size, list[Sample]] = {}
        for sample in samples:
            by_shape.setdefault(sample.image.shape, []).append(sample)
        results: dict[int, ImagePrediction] = {}
        for alike in by_shape.values():
            for sample, result in zip(alike, self._maps(alike), strict=True):
                image, size = images[sample.index]
                results[sample.index] = self._prediction(result, image, size or (image.shape[0], image.shape[1]))
        return [results[position] for position in range(len(images))]

    def _sample(self, position: int, image_HW3: NDArray[np.uint8], wanted: tuple[int, ...]) -> Sample:
        input_3HW, geometry = prepare(self._bundle.input, image_HW3)
        multi_hot = torch.zeros(len(self.classes))
        multi_hot[list(wanted)] = 1.0
        stride = self._bundle.network.config.output_stride
        scaled = tuple(
            to_input(self._bundle.input, image_HW3, at_scale(geometry, scale, stride))
            for scale in self.config.maps.other_scales
        )
        record, exclusive = Record("image", wanted), self._bundle.exclusive
        return Sample(position, record, input_3HW, multi_hot, geometry, exclusive=exclusive, scaled=scaled)

    def _maps(self, samples: list[Sample]) -> Iterator[ImageMaps]:
        config = self.config
        return image_maps(
            self._network,
            collate(samples).to(self._device),
            kind=self._bundle.map_kind,
            layer=self._bundle.layer,
            predicted=config.classes is None,
            probability=PROBABILITY if config.probability is None else config.probability,
            grid=None if self._refiner is None else self._refiner.store_grid,
            on_demand=self._refiner is None,
            settings=config.maps,
        )

    def _prediction(self, result: ImageMaps, image_HW3: NDArray[np.uint8], size: tuple[int, int]) -> ImagePrediction:
        config, classes = self.config, self.classes
        assert result.probabilities is not None, "a network gives probabilities for every image"
        of_classes: Mapping[int, NDArray[np.float32]] = result.maps
        if self._refiner is not None and of_classes:
            of_classes = at_image(refine_by_class(self._refiner, image_HW3, of_classes), size)
        maps = (
            {index: of_classes.in_strips(index, size) for index in of_classes}
            if isinstance(of_classes, MapsOnDemand)
            else {}
        )
        probabilities = result.probabilities.tolist()
        order = sorted(maps, key=lambda index: (-probabilities[index], index))
        labels = tuple(classes[index] for index in order)
        values = mask_values(classes, labels)
        numbered = {values[classes[index]]: maps[index] for index in order if classes[index] in values}
        threshold = THRESHOLD if config.threshold is None else config.threshold
        return ImagePrediction(
            image=image_HW3,
            classes=classes,
            probabilities=dict(zip(classes, probabilities, strict=True)),
            labels=labels,
            maps={classes[index]: maps[index] for index in order},
            mask=mask_of_maps(numbered, size, threshold=threshold, crf=(image_HW3, OAA_CRF) if config.crf else None),
        )


def mask_of_maps(
    maps: Mapping[int, MapRows],
    size: tuple[int, int],
    *,
    threshold: float,
    crf: tuple[NDArray[np.uint8], CrfConfig] | None = None,
) -> NDArray[np.uint8]:
    """Assign each pixel to the class of the largest map if this exceeds the threshold, else to the background.

    With a CRF, the maps and the threshold, divided by their sum, are the probabilities that it refines.

    Args:
        maps: Maps (H0, W0) in [0, 1] by the class's number in the mask.
        size: (H0, W0).
        threshold: Score of the background.
        crf: The image, uint8 RGB (H0, W0, 3), and the parameters of the CRF.

    Returns:
        uint8 (H0, W0): 0 background, or a class's number. Of equal maps the smallest number wins.
    """
    numbers = sorted(maps)
    mask = np.zeros(size, np.uint8)
    if not numbers:
        return mask
    if crf is None:
        for rows in strips(size):
            best = np.full((rows.stop - rows.start, size[1]), threshold, np.float32)
            for number in numbers:
                values = maps[number][rows]
                mask[rows][values > best] = number
                np.maximum(best, values, out=best)
        return mask
    scores = np.stack([np.full(size, threshold, np.float32), *(maps[number][slice(0, size[0])] for number in numbers)])
    total = np.maximum(scores.sum(0, keepdims=True), np.finfo(np.float32).tiny)
    scores = dense_crf(crf[0], scores / total, crf[1])
    values = np.array([0, *numbers], np.uint8)
    return values[scores.argmax(0)]
