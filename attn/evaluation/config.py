"""What an evaluation measures and how."""

from __future__ import annotations

__all__ = ["ScoringConfig"]

from pydantic import Field

from attn.config.base import Config
from attn.evaluation.voc import AveragePrecisionRule


class ScoringConfig(Config):
    """Protocol choices of an evaluation.

    Attributes:
        layer: Feature layer whose maps are scored; by default the one that the model was trained with.
        thresholds: Size of the grid 0, 1/n, 2/n, ... that the background score of the seed protocol is swept over.
        claim: Share of its maximum above which a map claims a pixel in direct evaluation (GAIN and SEC take 20 %).
        probability: From which probability on (exclusive) a class counts as predicted.
        pointing_tolerance: Pixels by which the maximum of a map may miss the object and still count.
        maps: Whether maps are scored at all; without, only the classifier is.
        average_precision: How average precision is computed: see `AveragePrecisionRule`. With VOC's rules an image does
            not count for a class of which it shows only difficult objects, where the data tells.
    """

    layer: str | None = None
    thresholds: int = Field(default=100, ge=2, le=1000)
    claim: float = Field(default=0.2, ge=0, lt=1)
    probability: float = Field(default=0.5, gt=0, lt=1)
    pointing_tolerance: int = Field(default=0, ge=0, le=8192)
    maps: bool = True
    average_precision: AveragePrecisionRule = "sklearn"
