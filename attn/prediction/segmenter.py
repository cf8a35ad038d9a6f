"""Predictions of a segmentation network. Shapes: C channels with the background first, H0×W0 image."""

from __future__ import annotations

__all__ = ["SegmenterPredictor"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn.evaluation.inference import evaluating, strips
from attn.maps.dense_crf import SEC_CRF, check_crf, dense_crf
from attn.models.device import choose_device
from attn.prediction.config import WITHOUT_CRF, ImagePredictConfig
from attn.prediction.predictor import ImagePrediction, SizedImage
from attn.segmentation.bundle import Segmenter
from attn.segmentation.predict import ImageScores, score_images


class SegmenterPredictor:
    """See `attn.prediction.Predictor`."""

    task = "segmentation"

    def __init__(self, segmenter: Segmenter, config: ImagePredictConfig) -> None:
        self.config, self._segmenter = config, segmenter
        device = choose_device(config.device)
        self._network = segmenter.network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        wanted = segmenter.inference.crf if config.crf is None else (segmenter.inference.crf or SEC_CRF)
        self._crf = wanted if config.crf in (None, True) else None
        if self._crf is not None:
            check_crf("this network's mask", WITHOUT_CRF)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._segmenter.classes

    @property
    def sha256(self) -> str:
        return self._segmenter.sha256

    @property
    def maps(self) -> dict[str, Any]:
        return {}

    @property
    def min_side(self) -> int | None:
        return None if self._crf else self._segmenter.inference.sufficient_side(self._segmenter.input)

    def __call__(self, image_HW3: NDArray[np.uint8], size: tuple[int, int] | None = None) -> ImagePrediction:
        return self.batch([(image_HW3, size)])[0]

    def batch(self, images: Sequence[SizedImage]) -> list[ImagePrediction]:
        with evaluating(self._network):
            scores = score_images(self._network, images, self._segmenter.input, self._segmenter.inference)
        return [self._prediction(each, image) for each, (image, _) in zip(scores, images, strict=True)]

    def _prediction(self, scores: ImageScores, image_HW3: NDArray[np.uint8]) -> ImagePrediction:
        classes, wanted = self.classes, self.config.classes
        labels = None if wanted is None else tuple(classes.index(name) for name in wanted)
        probs = _Probabilities(scores, labels)
        mask, highest = np.empty(scores.size, np.uint8), np.zeros(len(classes), np.float32)
        for rows in strips(scores.size, scores.channels):
            probs_CHW = probs(rows)
            mask[rows] = probs_CHW.argmax(0)
            np.maximum(highest, probs_CHW[1:].max((1, 2)), out=highest)
        before_crf = set[str]()
        if self._crf is not None:
            before_crf = self._occurring(mask)
            mask = dense_crf(image_HW3, probs(slice(0, scores.size[0])), self._crf).argmax(0).astype(np.uint8)
        known = dict(zip(classes, highest.tolist(), strict=True))
        occurring = self._occurring(mask)

        def ordered(names: set[str]) -> tuple[str, ...]:
            return tuple(sorted(names, key=lambda name: (-known[name], classes.index(name))))

        result = ordered(occurring | set(wanted or ()))
        maps = {name: _ClassRows(probs, classes.index(name) + 1) for name in result}
        removed = ordered(before_crf - occurring)
        return ImagePrediction(image_HW3, classes, known, result, maps, mask, self.task, removed)

    def _occurring(self, mask: NDArray[np.uint8]) -> set[str]:
        return {self.classes[index - 1] for index in np.flatnonzero(_occurring(mask)).tolist() if index}


class _Probabilities:
    """Probabilities of all channels, computed for some rows at a time; the last rows are cached."""

    def __init__(self, scores: ImageScores, labels: tuple[int, ...] | None) -> None:
        self.scores, self._labels = scores, labels
        self._last: tuple[slice, NDArray[np.float32]] | None = None

    def __call__(self, rows: slice) -> NDArray[np.float32]:
        if self._last is None or self._last[0] != rows:
            self._last = None  # free the memory first
            self._last = rows, self.scores.restricted(rows, self._labels).clamp(0, 1).cpu().numpy()
        return self._last[1]


class _ClassRows:
    """The probabilities of one channel as a map."""

    def __init__(self, probabilities: _Probabilities, channel: int) -> None:
        self._probabilities, self._channel = probabilities, channel

    @property
    def shape(self) -> tuple[int, int]:
        return self._probabilities.scores.size

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        return self._probabilities(rows)[self._channel]


def _occurring(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which values occur in a mask; np.unique would take eight times the mask's memory."""
    occurring = np.zeros(256, bool)
    for row in mask:
        occurring[row] = True
    return occurring
