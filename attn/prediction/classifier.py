"""A classifier's labels and attention maps, and the mask that the maps make. Shapes: C classes, H0×W0 image."""

from __future__ import annotations

__all__ = ["ClassifierPredictor", "mask_of_maps"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.sample import Record, Sample, collate
from attn.data.transforms import prepare
from attn.evaluation.crf import OAA_CRF, CrfConfig, dense_crf
from attn.evaluation.inference import image_maps
from attn.models.bundle import Bundle
from attn.models.usage import PROBABILITY
from attn.prediction.config import PredictionConfig
from attn.prediction.predictor import ImagePrediction
from attn.segmentation.device import choose_device

THRESHOLD = 0.3


class ClassifierPredictor:
    """See `attn.prediction.Predictor`."""

    task = "classification"

    def __init__(self, bundle: Bundle, config: PredictionConfig) -> None:
        self.config, self._bundle = config, bundle
        self._device = choose_device(config.device)
        self._network = bundle.network.to(self._device)
        self._network.expose(bundle.layer)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._bundle.classes

    @property
    def sha256(self) -> str:
        return self._bundle.sha256

    def __call__(self, image_HW3: NDArray[np.uint8]) -> ImagePrediction:
        config, classes = self.config, self.classes
        wanted = () if config.classes is None else tuple(sorted(classes.index(name) for name in config.classes))
        input_3HW, geometry = prepare(self._bundle.input, image_HW3)
        multi_hot = torch.zeros(len(classes))
        multi_hot[list(wanted)] = 1.0
        sample = Sample(0, Record("image", wanted), input_3HW, multi_hot, geometry, exclusive=self._bundle.exclusive)
        (found,) = image_maps(
            self._network,
            collate([sample]).to(self._device),
            kind=self._bundle.map_kind,
            layer=self._bundle.layer,
            predicted=config.classes is None,
            probability=PROBABILITY if config.probability is None else config.probability,
        )
        assert found.probabilities is not None, "a network gives them for every image"
        probabilities = found.probabilities.tolist()
        order = sorted(found.maps, key=lambda index: (-probabilities[index], index))
        threshold = THRESHOLD if config.threshold is None else config.threshold
        crf = OAA_CRF if config.crf else None
        return ImagePrediction(
            image=image_HW3,
            classes=classes,
            probabilities=dict(zip(classes, probabilities, strict=True)),
            labels=tuple(classes[index] for index in order),
            maps=_ByName({classes[index]: index for index in order}, found.maps),
            mask=mask_of_maps(found.maps, image_HW3, threshold=threshold, crf=crf),
        )


@dataclass(frozen=True)
class _ByName(Mapping[str, NDArray[np.float32]]):
    """Maps that are made when they are asked for, as those that they are taken from."""

    indices: Mapping[str, int]
    maps: Mapping[int, NDArray[np.float32]]

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.maps[self.indices[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def mask_of_maps(
    maps: Mapping[int, NDArray[np.float32]],
    image_HW3: NDArray[np.uint8],
    *,
    threshold: float,
    crf: CrfConfig | None = None,
) -> NDArray[np.uint8]:
    """A pixel goes to the class with the largest map where that exceeds the threshold, to the background otherwise.

    With a CRF, these numbers, divided by their sum, are the probabilities that it refines.

    Args:
        maps: (H0, W0) in [0, 1] by class index.

    Returns:
        uint8 (H0, W0): 0 background, class index + 1. Of equal maps the first class wins.
    """
    indices = sorted(maps)
    size = image_HW3.shape[:2]
    if not indices:
        return np.zeros(size, np.uint8)
    if crf is None:
        mask = np.zeros(size, np.uint8)
        best = np.full(size if len(indices) > 1 else (1, 1), threshold, np.float32)
        for index in indices:  # one after another: of a large image, a stack of them would fill the memory
            values = maps[index]
            mask[values > best] = index + 1
            if len(indices) > 1:
                np.maximum(best, values, out=best)
            del values  # before the next is made
        return mask
    scores = np.stack([np.full(size, threshold, np.float32), *(maps[index] for index in indices)])
    total = np.maximum(scores.sum(0, keepdims=True), np.finfo(np.float32).tiny)
    scores = dense_crf(image_HW3, scores / total, crf)
    values = np.array([0, *(index + 1 for index in indices)], np.uint8)
    return values[scores.argmax(0)]
