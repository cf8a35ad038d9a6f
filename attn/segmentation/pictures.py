"""Pictures of a segmentation network's masks: an image with its cue, prediction, prediction with CRF and truth."""

from __future__ import annotations

__all__ = ["CUE", "PREDICTION", "REFINED", "SegmentationPreview", "at_size", "cue_panel", "masks_panel"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attn.data.sample import Example
from attn.data.source import Source
from attn.data.transforms import InputConfig
from attn.pictures.layout import Picture
from attn.pictures.panel import panel
from attn.pictures.preview import evenly_spaced
from attn.pictures.tiles import TRUTH, PanelData
from attn.segmentation.labels import LabelReader
from attn.segmentation.make import ShownCue
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig, predict

Pixels = NDArray[np.uint8]
HEIGHT = 160
CUE, PREDICTION, REFINED = "cue", "prediction", "with CRF"
"""Names of masks in pictures."""


def masks_panel(example: Example, classes: Sequence[str], masks: Mapping[str, Pixels | None]) -> PanelData:
    """An image with those of its masks that there are."""
    kept = {name: mask for name, mask in masks.items() if mask is not None}
    record = example.record
    return PanelData(record.image_id, example.image, tuple(classes), masks=kept, title=record.title)


def at_size(labels: Pixels, size: tuple[int, int]) -> Pixels:
    """Labels on any grid over an image, at its (height, width)."""
    rows, columns = (np.arange(n) * cells // n for n, cells in zip(size, labels.shape, strict=True))
    return labels[rows][:, columns]


def cue_panel(shown: ShownCue, classes: Sequence[str]) -> PanelData:
    """An image with the maps that its cue was made of, the cue, and the truth if there is one.

    A label without a map has one of zeros, as the rule takes it.
    """
    drawn = masks_panel(shown.example, classes, {CUE: shown.cue, TRUTH: shown.example.mask})
    maps = {index: values / max(float(values.max()), np.finfo(np.float32).tiny) for index, values in shown.maps.items()}
    nothing = np.zeros(shown.cue.shape, np.float32)
    return replace(drawn, maps=dict(sorted((dict.fromkeys(shown.example.record.labels, nothing) | maps).items())))


class SegmentationPreview:
    """Draws the masks of fixed images, at one scale and without the CRF, while a network trains."""

    def __init__(
        self,
        source: Source,
        network: SegmentationNetwork,
        input: InputConfig,
        inference: SegmentInferenceConfig,
        count: int,
        *,
        labels: LabelReader | None = None,
    ) -> None:
        self._source, self._network, self._input, self._labels = source, network, input, labels
        self._inference = inference.model_copy(update={"scales": (1.0,), "flip": False, "crf": None})
        self._indices = evenly_spaced(source.records, count)

    def draw(self) -> Iterator[tuple[str, Picture]]:
        """Each image's id and panel; the network's mode is left as it was."""
        examples = (self._source.load(index, saliency=False) for index in self._indices)
        for item in predict(self._network, examples, self._input, self._inference):
            example = item.example
            size = (example.image.shape[0], example.image.shape[1])
            cue = None if self._labels is None else at_size(self._labels(example.record, size, example.mask), size)
            masks = {CUE: cue, PREDICTION: item.plain, TRUTH: example.mask}
            yield (
                example.record.image_id,
                panel(masks_panel(example, self._source.classes, masks), height=HEIGHT, every_class=True),
            )
