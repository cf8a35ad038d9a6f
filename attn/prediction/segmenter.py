"""A segmentation network's mask and the classes in it. Shapes: C channels, 0 the background, H0×W0 image."""

from __future__ import annotations

__all__ = ["SegmenterPredictor"]

import numpy as np
import torch
from numpy.typing import NDArray

from attn.evaluation.crf import SEC_CRF, dense_crf
from attn.evaluation.inference import evaluating
from attn.prediction.config import PredictionConfig
from attn.prediction.predictor import ImagePrediction
from attn.segmentation.bundle import Segmenter
from attn.segmentation.device import choose_device
from attn.segmentation.predict import probabilities


class SegmenterPredictor:
    """See `attn.prediction.Predictor`."""

    task = "segmentation"

    def __init__(self, segmenter: Segmenter, config: PredictionConfig) -> None:
        self.config, self._segmenter = config, segmenter
        device = choose_device(config.device)
        self._network = segmenter.network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        wanted = segmenter.inference.crf if config.crf is None else (segmenter.inference.crf or SEC_CRF)
        self._crf = wanted if config.crf in (None, True) else None

    @property
    def classes(self) -> tuple[str, ...]:
        return self._segmenter.classes

    @property
    def sha256(self) -> str:
        return self._segmenter.sha256

    def __call__(self, image_HW3: NDArray[np.uint8]) -> ImagePrediction:
        segmenter, classes = self._segmenter, self.classes
        with evaluating(self._network):
            probs = probabilities(self._network, image_HW3, segmenter.input, segmenter.inference)
        probs_CHW = probs.clamp(0, 1).cpu().numpy()
        if self.config.classes is not None:
            allowed = [0, *(classes.index(name) + 1 for name in self.config.classes)]
            probs_CHW[[index for index in range(len(probs_CHW)) if index not in allowed]] = 0
            probs_CHW /= np.maximum(probs_CHW.sum(0, keepdims=True), np.finfo(np.float32).tiny)
        refined = probs_CHW if self._crf is None else dense_crf(image_HW3, probs_CHW, self._crf)
        mask = refined.argmax(0).astype(np.uint8)
        highest = probs_CHW[1:].max((1, 2)).tolist()
        known = dict(zip(classes, highest, strict=True))
        there = {classes[index - 1] for index in np.unique(mask).tolist() if index} | set(self.config.classes or ())
        labels = tuple(sorted(there, key=lambda name: (-known[name], classes.index(name))))
        maps = {name: probs_CHW[classes.index(name) + 1] for name in labels}
        return ImagePrediction(image_HW3, classes, known, labels, maps, mask)
