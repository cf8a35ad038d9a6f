"""What is wanted of a model's look at an image."""

from __future__ import annotations

__all__ = ["ImagePredictConfig"]

from typing import Annotated, Literal

from pydantic import Field

from attn.config.base import Config
from attn.data.decode import MAX_PIXELS, PIXEL_LIMIT


class ImagePredictConfig(Config):
    """Choices of a prediction.

    Attributes:
        classes: Whose maps and mask, whatever their probability; by default those of the predicted classes.
        probability: Of a classifier, from which probability on (exclusive) a class counts as predicted.
        threshold: Of a classifier, the share of its maximum above which a map makes a pixel object. A pixel goes to the
            class with the largest map, as in the scores of seeds.
        crf: Refine the mask along the image's edges; by default as a segmentation network was evaluated, and not for a
            classifier's maps.
        max_pixels: Of an image; a larger one is not done.
        device: `auto`: a GPU where there is one.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    probability: float | None = Field(default=None, gt=0, lt=1)
    threshold: float | None = Field(default=None, ge=0, lt=1)
    crf: bool | None = None
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=PIXEL_LIMIT)
    device: Literal["auto", "cpu", "gpu"] = "auto"
