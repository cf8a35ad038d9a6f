"""Configuration of an evaluation."""

from __future__ import annotations

__all__ = ["ScoringConfig"]

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from attn.evaluation.faithfulness import FaithfulnessConfig
from attn.evaluation.voc import AveragePrecisionRule
from attn.saliency.config import SaliencyKind, SaliencySettings


class ScoringConfig(SaliencySettings):
    """Choices of an evaluation, which become part of the scores' protocols.

    Attributes:
        layer: Feature layer of the scored maps; by default the layer that the model was trained with.
        thresholds: n of the grid 0, 1/n, 2/n, ... of background scores in the seed protocol.
        claim: Direct protocol: a map claims a pixel above this share of its maximum (GAIN and SEC: 20 %).
        probability: Classes with a probability above this value are predicted.
        pointing_tolerance: Largest distance in pixels from a map's maximum to the object that still counts as a hit.
        maps: Score attention maps; otherwise only the classifier is scored.
        average_precision: Rule of average precision: see `AveragePrecisionRule`. With VOC's rules an image does not
            count for a class of which it shows only difficult objects, if the data marks them.
        crops: Parts of an image whose probabilities are averaged. `one`: the network's input. `ten`: the four corners
            and the centre, with seven eighths of the side of the largest part of the input's shape, and all of them
            mirrored (Krizhevsky et al., NIPS 2012). Needs `maps=false`: the scores are of the classifier alone.
        faithfulness: Also score insertion and deletion of a trained model's maps, which need no masks; null: do not.
        saliency: Also take the seed protocol's score at the threshold at which the maps agree best with saliency, which
            needs no masks: `given` by the data, by `u2netp`, or of the image's `border`.
    """

    layer: str | None = None
    thresholds: int = Field(default=100, ge=2, le=1000)
    claim: float = Field(default=0.2, ge=0, lt=1)
    probability: float = Field(default=0.5, gt=0, lt=1)
    pointing_tolerance: int = Field(default=0, ge=0, le=8192)
    maps: bool = True
    average_precision: AveragePrecisionRule = "sklearn"
    crops: Literal["one", "ten"] = "one"
    faithfulness: FaithfulnessConfig | None = None
    saliency: SaliencyKind = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.crops == "ten" and self.maps:
            raise ValueError("crops=ten scores the classifier alone: set maps=false, or crops=one")
        if self.faithfulness is not None and not self.maps:
            raise ValueError("faithfulness is of maps, and maps=false makes none: set maps=true, or faithfulness=null")
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        if not self.maps:
            return {"maps": ("layer", "thresholds", "claim", "pointing_tolerance", "saliency", "saliency_threshold")}
        return {"saliency": ("saliency_threshold",)} if self.saliency == "none" else {}
