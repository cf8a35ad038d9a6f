"""Configuration of predictions for images."""

from __future__ import annotations

__all__ = ["WITHOUT_CRF", "ImagePredictConfig"]

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from attn.config.base import Config
from attn.data.decode import MAX_PIXELS, PIXEL_LIMIT
from attn.maps.settings import MapSettings

WITHOUT_CRF = "say --no-crf (crf=False)"
"""How to predict without a CRF, on the command line and in Python."""


class ImagePredictConfig(Config):
    """Choices of a prediction.

    Attributes:
        classes: Classes to make labels, maps and masks of, whatever their probability, and no others; by default the
            predicted classes.
        probability: Classifiers only: classes with a higher probability are predicted.
        threshold: Classifiers only: a pixel is background where no map exceeds this share of its maximum; elsewhere it
            is assigned to the class of the largest map.
        maps: Classifiers only: how maps are made; probabilities are those of scale 1. Of several predicted
            classes, the CRF (`refine.name=crf`) refines all together.
        crf: Refine the mask with a dense CRF. By default, segmentation networks use it as in their evaluation, and
            classifiers do not.
        max_pixels: Largest number of pixels of an image; larger images are skipped.
        device: `auto` uses a GPU if there is one.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    probability: float | None = Field(default=None, gt=0, lt=1)
    threshold: float | None = Field(default=None, ge=0, lt=1)
    maps: MapSettings = MapSettings()
    crf: bool | None = None
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=PIXEL_LIMIT)
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.classes is None else {"classes": ("probability",)}
