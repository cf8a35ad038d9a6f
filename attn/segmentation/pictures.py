"""Pictures of segmentation: panels of image, cue, prediction, prediction with CRF and truth."""

from __future__ import annotations

__all__ = ["SegmentationPreview", "Segmented", "at_size", "segmentation_panel", "segmentation_sheet"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.data.source import Source
from attn.data.transforms import InputConfig
from attn.pictures.layout import Picture, Tile, grid
from attn.pictures.palette import colored
from attn.pictures.preview import evenly_spaced
from attn.segmentation.labels import LabelReader
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig, predict

Pixels = NDArray[np.uint8]
OPACITY = 0.75


@dataclass(frozen=True)
class Segmented:
    """An image with its masks: uint8 (H, W) of indices, 255 open or void; None where there is none.

    Attributes:
        image: uint8 RGB (H, W, 3).
    """

    image_id: str
    image: Pixels
    cue: Pixels | None = None
    plain: Pixels | None = None
    refined: Pixels | None = None
    truth: Pixels | None = None


def segmentation_panel(one: Segmented, *, height: int = 160) -> Picture:
    """One row: the image, and each of its masks over it."""
    return grid([_tiles(one)], height=height)


def segmentation_sheet(images: Sequence[Segmented], *, height: int = 130) -> Picture:
    """One row an image; columns that no image has are left out."""
    rows = [_tiles(one) for one in images]
    kept = [column for column in range(len(rows[0])) if any(row[column] is not None for row in rows)]
    return grid([[row[column] for column in kept] for row in rows], height=height)


def at_size(labels: Pixels, size: tuple[int, int]) -> Pixels:
    """Labels on any grid over an image, at its (height, width)."""
    rows, columns = (np.arange(n) * cells // n for n, cells in zip(size, labels.shape, strict=True))
    return labels[rows][:, columns]


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
        for found in predict(self._network, examples, self._input, self._inference):
            example = found.example
            size = (example.image.shape[0], example.image.shape[1])
            cue = None if self._labels is None else at_size(self._labels(example.record, size, example.mask), size)
            one = Segmented(example.record.image_id, example.image, cue, found.plain, truth=example.mask)
            yield example.record.image_id, segmentation_panel(one)


def _tiles(one: Segmented) -> list[Tile | None]:
    masks = {"cue": one.cue, "prediction": one.plain, "with CRF": one.refined, "truth": one.truth}
    tiles: list[Tile | None] = [Tile(one.image, one.image_id)]
    tiles += [None if mask is None else Tile(_over(one.image, mask), name) for name, mask in masks.items()]
    return tiles


def _over(image: Pixels, mask: Pixels) -> Pixels:
    """The mask's colours over the image in grey, which the background leaves bare."""
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    blended = OPACITY * colored(mask) + (1 - OPACITY) * grey
    return np.where((mask == 0)[..., None], grey // 2, np.rint(blended)).astype(np.uint8)
