"""A score and the protocol that it was measured by; scores of different protocols are not compared silently."""

from __future__ import annotations

__all__ = ["OF_CLASSIFIER", "OF_MAPS", "Comparison", "Protocol", "Score", "ThresholdRule", "compare"]

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Config
from attn.errors import AttnError
from attn.evaluation.crf import CrfConfig
from attn.evaluation.voc import Difficult
from attn.parsing import load_json

OF_CLASSIFIER = ("mean_ap", "mean_auc", "recall", "specificity", "accuracy", "accuracy_top5")
"""Names of the scores of a classifier; the last two are of data that gives every image exactly one class."""
OF_MAPS = ("seed_miou", "direct_miou", "direct_miou_best", "coverage", "precision", "energy", "pointing")
"""Names of the scores of attention maps, which need masks."""


class ThresholdRule(Config):
    """How maps became a decision: one fixed value, or the best of a grid, chosen on the scored images themselves."""

    rule: Literal["fixed", "swept"]
    values: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_fixed_value(self) -> Self:
        if self.rule == "fixed" and len(self.values) != 1:
            raise ValueError(f"a fixed rule has one value, got {len(self.values)}")
        return self


class Protocol(Config):
    """Everything that a figure depends on besides the weights of the network.

    Attributes:
        source, split: The data by name.
        images: How many images were counted.
        fingerprint: SHA-256 over the sorted ids and labels of exactly those images.
        scored: `classifier`, `maps`, `cues` made of maps, or a segmentation network's `masks`.
        map_kind, layer: Which attention map, of which layer.
        masks: Name of the folder of the masks that maps were held against, where the data has several.
        labels: Whether maps were taken of the given classes or of the predicted ones.
        probability: For predicted classes, the probability from which on a class counts as predicted.
        scales: Input scales that were averaged, with 1.0 for the input's own.
        flip: Whether mirrored inputs were averaged too.
        cue_rule: Everything that made cues of maps.
        resize: How the image became the input, in words that fix it (`squash 225x225`).
        frame: Where pixels were compared: at the image's own size or at the network's input size.
        tolerance: Pixels by which a pointed position may miss the object.
        average_precision: VOC's rule of average precision; None for scikit-learn's.
        difficult: By VOC's rule, whether difficult objects were ignored or nothing tells which they are, so that all
            count.
    """

    source: str
    split: str
    images: int = Field(ge=1)
    fingerprint: str
    scored: Literal["classifier", "maps", "cues", "masks"]
    map_kind: str | None = None
    layer: str | None = None
    masks: str | None = None
    labels: Literal["given", "predicted"] | None = None
    probability: float | None = None
    threshold: ThresholdRule | None = None
    crf: CrfConfig | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool | None = None
    cue_rule: dict[str, Any] | None = None
    resize: str
    frame: Literal["image", "input"] = "image"
    tolerance: int | None = None
    average_precision: Literal["voc2010", "voc2007"] | None = None
    difficult: Difficult | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON: equal protocols, equal hash, on every machine."""
        fields = self.model_dump(mode="json")
        # Scores from before these fields keep their hash.
        for name in ("masks", "flip", "cue_rule", "average_precision", "difficult"):
            if fields[name] is None:
                del fields[name]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Score(Config):
    """One figure with all that it means.

    Attributes:
        per_class: The value of each class by name; None for a class that was left out.
        curve: (threshold, value) over the grid, where the threshold was swept.
        extras: Whatever else belongs to it (best threshold, classes left out, counts).
    """

    name: str
    value: float
    protocol: Protocol
    per_class: dict[str, float | None] = Field(default={})
    curve: tuple[tuple[float, float], ...] = ()
    extras: dict[str, Any] = Field(default={})

    @property
    def hash(self) -> str:
        """The protocol's hash."""
        return self.protocol.hash

    def to_json(self) -> str:
        """The whole score with its protocol and the protocol's hash."""
        return json.dumps(self.model_dump(mode="json") | {"hash": self.hash}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a score back.

        Raises:
            AttnError: It is no score, or the text was changed: its protocol has another hash than the one that it
                carries.
        """
        try:
            fields = load_json(text)
            carried = fields.pop("hash", None)
            score = cls.model_validate_json(json.dumps(fields))
        except (ValueError, AttributeError, TypeError) as error:
            raise AttnError(f"is no score as evaluations write it ({type(error).__name__})") from None
        if carried is not None and carried != score.hash:
            raise AttnError(
                f"score {score.name}: its protocol has the hash {score.hash[:12]}, the file says {str(carried)[:12]}"
            )
        return score


@dataclass(frozen=True)
class Comparison:
    """`b` against `a`: difference of the values, and of each class that both have."""

    name: str
    difference: float
    per_class: dict[str, float]
    protocol_differences: tuple[str, ...]


def compare(a: Score, b: Score, *, despite_protocol: bool = False) -> Comparison:
    """How much higher `b` is than `a`.

    Raises:
        AttnError: The scores are not of one name, or were measured by different protocols and the caller did not say
            that this is meant; the text names every field that differs.
    """
    if a.name != b.name:
        raise AttnError(f"{a.name} and {b.name} are different scores and cannot be compared")
    differences = _differences(a.protocol, b.protocol)
    if differences and not despite_protocol:
        raise AttnError(
            f"these two values of {a.name} were measured differently ({a.hash[:12]} and {b.hash[:12]}): "
            + "; ".join(differences)
            + ". Score both by one protocol, or say that the difference is meant (despite_protocol=True)."
        )
    left, right = a.per_class, b.per_class
    per_class = {name: y - x for name, x in left.items() if x is not None and (y := right.get(name)) is not None}
    return Comparison(a.name, b.value - a.value, per_class, differences)


def _differences(a: Protocol, b: Protocol) -> tuple[str, ...]:
    left, right = a.model_dump(mode="json"), b.model_dump(mode="json")
    return tuple(f"{key}: {_short(left[key])} against {_short(right[key])}" for key in left if left[key] != right[key])


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
