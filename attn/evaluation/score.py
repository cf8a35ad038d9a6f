"""Scores with the protocol that they were measured by. Scores of different protocols are never compared silently."""

from __future__ import annotations

__all__ = [
    "OF_CLASSIFIER",
    "OF_MAPS",
    "Comparison",
    "Outputs",
    "Perturbation",
    "Protocol",
    "Score",
    "ThresholdRule",
    "compare",
]

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Config
from attn.errors import AttnError
from attn.evaluation.voc import Difficult
from attn.maps.dense_crf import CrfConfig
from attn.parsing import load_json

OF_CLASSIFIER = ("mean_ap", "mean_auc", "recall", "specificity", "accuracy", "accuracy_top5")
"""Names of a classifier's scores; the last two exist only for data with exactly one class per image."""
OF_MAPS = ("seed_miou", "direct_miou", "direct_miou_best", "coverage", "precision", "energy", "pointing")
"""Names of the scores of attention maps, which need masks."""

Outputs = Literal["softmax", "sigmoid"]
"""What makes probabilities of logits: softmax where classes are exclusive, otherwise a sigmoid per class."""

NEWER = (
    "masks",
    "outputs",
    "crops",
    "flip",
    "refinement",
    "cue_rule",
    "average_precision",
    "difficult",
    "perturbation",
)
"""Fields of a protocol that its hash leaves out where they are None."""


class ThresholdRule(Config):
    """The threshold of maps.

    Attributes:
        rule: One `fixed` value; of a grid the best for the masks of the scored images (`swept`), or, without masks, the
            one at which the maps agree best with saliency (`saliency_agreement`).
        values: The value, or the grid.
        saliency: Origin of the saliency.
        saliency_threshold: Saliency above this value is object.
        images: How many images' maps and saliency have chosen the threshold.
        fingerprint: SHA-256 of the ids and labels of these images, and of their saliency where the data gives it.
    """

    rule: Literal["fixed", "swept", "saliency_agreement"]
    values: tuple[float, ...] = Field(min_length=1)
    saliency: str | None = None
    saliency_threshold: float | None = None
    images: int | None = None
    fingerprint: str | None = None

    @model_validator(mode="after")
    def _one_fixed_value(self) -> Self:
        if self.rule == "fixed" and len(self.values) != 1:
            raise ValueError(f"a fixed rule has one value, not {len(self.values)}")
        if (self.rule == "saliency_agreement") != (self.saliency is not None):
            raise ValueError(f"saliency belongs to saliency_agreement, and the rule is {self.rule}")
        return self


class Perturbation(Config):
    """How pixels are exchanged for the scores insertion and deletion.

    Attributes:
        steps: Equal shares of the pixels that are exchanged one after the other.
        baseline: Image that insertion begins with, or deletion ends with.
        blur: Of a blurred image: standard deviation as a share of the input's shorter side.
    """

    steps: int
    baseline: Literal["blur", "mean"]
    blur: float | None = None


class Protocol(Config):
    """Everything that a score depends on besides the network's weights.

    Attributes:
        source, split: Name of the data set and of its split.
        images: Number of scored images.
        fingerprint: SHA-256 over the sorted ids and labels of these images.
        scored: What was scored: `classifier`, `maps`, `cues` made from maps, or a segmentation network's `masks`.
        map_kind, layer: Kind and feature layer of the attention map.
        masks: Name of the folder of ground-truth masks, if the data has several.
        labels: Whether maps are of the given labels or of the predicted classes.
        probability: For predicted classes: those with a higher probability are predicted.
        outputs: What made the probabilities, where `data.exclusive` says otherwise than the data's source; None: as
            the source has it, or no probability counts.
        threshold: How maps were thresholded.
        crf: Parameters of the dense CRF, if one was used.
        scales: Input scales that were averaged; 1.0 is the input's own size.
        flip: Whether mirrored inputs were averaged too.
        refinement: How maps were refined: the parameters, with SHA-256 of weights in place of their location.
        cue_rule: Parameters of the cues made from maps.
        resize: How images became inputs, e.g. `squash 225x225`.
        crops: Parts of an image whose probabilities were averaged, where there were several.
        frame: Size at which pixels were compared: the image's own or the network's input size.
        tolerance: Largest distance in pixels of a hit in the pointing game.
        average_precision: VOC's rule of average precision; None for scikit-learn's.
        difficult: With VOC's rule: whether difficult objects were ignored, or all count as they are not marked.
        perturbation: Of insertion and deletion: how pixels were exchanged.
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
    outputs: Outputs | None = None
    threshold: ThresholdRule | None = None
    crf: CrfConfig | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool | None = None
    refinement: dict[str, Any] | None = None
    cue_rule: dict[str, Any] | None = None
    resize: str
    crops: Literal["ten"] | None = None
    frame: Literal["image", "input"] = "image"
    tolerance: int | None = None
    average_precision: Literal["voc2010", "voc2007"] | None = None
    difficult: Difficult | None = None
    perturbation: Perturbation | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON; equal protocols have equal hashes on every machine."""
        fields = self.model_dump(mode="json")
        # Scores of versions without these fields keep their hash.
        for name in NEWER:
            if fields[name] is None:
                del fields[name]
        if fields["threshold"] is not None and self.threshold is not None and self.threshold.saliency is None:
            del fields["threshold"]["saliency"], fields["threshold"]["saliency_threshold"]
        if fields["threshold"] is not None and self.threshold is not None and self.threshold.fingerprint is None:
            del fields["threshold"]["images"], fields["threshold"]["fingerprint"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Score(Config):
    """One score with its protocol.

    Attributes:
        per_class: The value of each class by name; None for a class without a score.
        curve: (threshold, value) over the grid, if the threshold was swept.
        extras: Further values, such as the best threshold, classes without a score, counts.
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
        """JSON of the score, its protocol and the protocol's hash."""
        return json.dumps(self.model_dump(mode="json") | {"hash": self.hash}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a score from JSON.

        Raises:
            AttnError: The text is not a score, or its hash does not match its protocol.
        """
        try:
            fields = load_json(text)
            carried = fields.pop("hash", None)
            score = cls.model_validate_json(json.dumps(fields))
        except (ValueError, AttributeError, TypeError) as error:
            raise AttnError(f"is not a score written by an evaluation ({type(error).__name__})") from None
        if carried is not None and carried != score.hash:
            raise AttnError(
                f"score {score.name}: its protocol has the hash {score.hash[:12]}, the file says {str(carried)[:12]}"
            )
        return score


@dataclass(frozen=True)
class Comparison:
    """The difference `b` - `a` of two scores, and of each class that both have."""

    name: str
    difference: float
    per_class: dict[str, float]
    protocol_differences: tuple[str, ...]


def compare(a: Score, b: Score, *, despite_protocol: bool = False) -> Comparison:
    """Compare two scores: the difference is `b` - `a`.

    Args:
        despite_protocol: Compare scores of different protocols, too.

    Raises:
        AttnError: The scores have different names, or different protocols; the message names every field that differs.
    """
    if a.name != b.name:
        raise AttnError(f"{a.name} and {b.name} are different scores and cannot be compared")
    differences = _differences(a.protocol, b.protocol)
    if differences and not despite_protocol:
        raise AttnError(
            f"these two values of {a.name} were measured differently ({a.hash[:12]} and {b.hash[:12]}): "
            + "; ".join(differences)
            + ". Score both by the same protocol, or pass despite_protocol=True to compare them anyway."
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
