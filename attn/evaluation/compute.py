"""Computes scores, with their protocols, from what was counted of a data set's images."""

from __future__ import annotations

__all__ = ["MAPS_OFF", "compute_scores", "evaluation_of"]

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data.source import fingerprint
from attn.errors import DataError
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.classification import (
    ClassScores,
    average_precision,
    roc_auc,
    threshold_accuracy,
    top_k_accuracy,
)
from attn.evaluation.config import ScoringConfig
from attn.evaluation.faithfulness import Faithfulness, with_faithfulness
from attn.evaluation.localization import SweepResult
from attn.evaluation.result import DataDescription, Evaluation, with_skipped
from attn.evaluation.score import Protocol, Score, ThresholdRule
from attn.evaluation.thresholds import REFINED
from attn.evaluation.voc import difficult_objects, difficult_pairs
from attn.maps.settings import PLAIN, MapSettings

SHOWN = 8
MAPS_OFF = "maps were not scored: evaluation.maps=false"
"""The note of an evaluation that read no masks."""


def evaluation_of(
    counted: ScoreAccumulator,
    skipped: Collection[str],
    classes: tuple[str, ...],
    config: ScoringConfig,
    data: DataDescription,
    *,
    map_kind: str,
    layer: str | None,
    settings: MapSettings = PLAIN,
    refinement: dict[str, Any] | None = None,
    faithfulness: Faithfulness | None = None,
    saliency: str | None = None,
) -> Evaluation:
    """All scores of what was counted; see `compute_scores`.

    Args:
        skipped: Ids of images that could not be read.
        faithfulness: What was accumulated of insertion and deletion.

    Raises:
        DataError: Nothing was counted.
    """
    if not counted.records:
        raise DataError(f"{data.source} {data.split!r} has no images to evaluate")
    evaluation = compute_scores(
        counted,
        classes,
        config,
        data,
        map_kind=map_kind,
        layer=layer,
        settings=settings,
        refinement=refinement,
        saliency=saliency,
    )
    if faithfulness is not None:
        evaluation = with_faithfulness(evaluation, faithfulness, data, map_kind, layer or "last", settings, refinement)
    return with_skipped(evaluation, skipped)


def compute_scores(
    counted: ScoreAccumulator,
    classes: tuple[str, ...],
    config: ScoringConfig,
    data: DataDescription,
    *,
    map_kind: str,
    layer: str | None,
    settings: MapSettings = PLAIN,
    refinement: dict[str, Any] | None = None,
    saliency: str | None = None,
) -> Evaluation:
    """Compute all scores that the data permits, with notes about those that it does not.

    Args:
        settings, refinement: How the maps were made, for the protocol.
        saliency: Origin of the saliency, if there is any.
    """
    records = list(counted.records.values())
    base = Protocol(
        source=data.source,
        split=data.split,
        images=len(records),
        fingerprint=fingerprint(classes, records),
        scored="classifier",
        outputs=data.outputs,
        resize=data.resize,
        crops=None if config.crops == "one" else config.crops,
    )
    scores: dict[str, Score] = {}
    notes: list[str] = []
    if counted.probabilities:
        scores, notes = _classifier_scores(counted, classes, config, base)
    else:
        notes.append("without predictions, the classifier and the maps of predicted classes were not scored")
    if not config.maps:
        notes.append(MAPS_OFF)
    elif not counted.masked:
        notes.append("maps were not scored: the data has no masks")
    else:
        of_masked = {"images": len(counted.masked), "fingerprint": fingerprint(classes, counted.masked)}
        of_maps = {"scored": "maps", "map_kind": map_kind, "layer": layer, "masks": data.masks, **settings.protocol()}
        of_maps["refinement"] = refinement
        maps_protocol = base.model_copy(update=of_masked | of_maps)
        scores |= _seed_scores(counted, classes, config, maps_protocol, saliency) if counted.given else {}
        if counted.probabilities and not counted.predicted:
            notes.append(
                "maps of predicted classes were not scored: they were refined together with maps of the given labels, "
                "and depend on these; `attn maps MODEL classes=predicted` writes maps that do not"
            )
        elif counted.lacking:
            notes.append(
                "maps of predicted classes were not scored (direct): the store has none of a predicted class of "
                f"{counted.lacking} of {len(counted.masked)} images; "
                f"`attn maps MODEL classes=both probability={config.probability:g}` writes them"
            )
        elif counted.probabilities:
            scores |= _direct_scores(counted, classes, config, maps_protocol)
            notes += [REFINED] if refinement is not None else []
        if without := len(records) - len(counted.masked):
            notes.append(f"{without} of {len(records)} images have no mask and count for the classifier only")
        if counted.parts:
            rest = "count as 0 in the rest" if refinement is None else "were 0 in the rest before they were refined"
            notes.append(
                f"the network sees only a part of {counted.parts} of {len(counted.masked)} images; their maps {rest}: "
                "input.resize=squash shows whole images"
            )
        if counted.extent.without_object:
            notes.append(f"for {counted.extent.without_object} labels the image's mask has no pixel of the class")
        if counted.extent.empty_maps:
            empty = counted.extent.empty_maps
            verb = "map is zero everywhere; its" if empty == 1 else "maps are zero everywhere; their"
            notes.append(f"{empty} {verb} coverage is 0")
    if saliency is not None and counted.given and config.maps:
        notes.append(counted.agreement.describe(saliency))
    return Evaluation(scores, classes, len(records), len(counted.masked), tuple(notes))


def _classifier_scores(
    counted: ScoreAccumulator, classes: tuple[str, ...], config: ScoringConfig, base: Protocol
) -> tuple[dict[str, Score], list[str]]:
    probabilities, labels = np.stack(counted.probabilities), counted.labels()
    recall, specificity = threshold_accuracy(probabilities, labels, threshold=config.probability)
    top = {"accuracy": 1} | ({"accuracy_top5": 5} if len(classes) > 5 else {}) if counted.exclusive else {}
    at_threshold = base.model_copy(
        update={
            "probability": config.probability,
            "threshold": ThresholdRule(rule="fixed", values=(config.probability,)),
        }
    )
    precision, of_precision, notes = _average_precision(counted, probabilities, labels, classes, base)
    scores = dict[str, Score]()
    for name, result, protocol, lacking in (
        ("mean_ap", precision, of_precision, "images with and without the class"),
        ("mean_auc", roc_auc(probabilities, labels), base, "images with and without the class"),
        ("recall", recall, at_threshold, "images with the class"),
        ("specificity", specificity, at_threshold, "images without the class"),
        *((name, top_k_accuracy(probabilities, labels, k), base, "images with the class") for name, k in top.items()),
    ):
        left_out = [classes[index] for index in result.left_out]
        if left_out:
            names = ", ".join(left_out[:SHOWN]) + (", ..." if len(left_out) > SHOWN else "")
            notes.append(f"{name} omits {len(left_out)} of {len(classes)} classes, which lack {lacking}: {names}")
        if len(left_out) < len(classes):
            scores[name] = _class_score(name, result, protocol, classes, left_out)
    return scores, notes


def _average_precision(
    counted: ScoreAccumulator,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    base: Protocol,
) -> tuple[ClassScores, Protocol, list[str]]:
    """Average precision by the configured rule, its protocol, and notes."""
    rule = counted.config.average_precision
    if rule == "sklearn":
        return average_precision(probabilities, labels), base, []
    records = list(counted.records.values())
    difficult, ignored = difficult_objects(records), difficult_pairs(records, len(classes))
    changes: dict[str, Any] = {"average_precision": rule, "difficult": difficult}
    if difficult == "unknown":
        ignored[:] = False
        note = f"mean_ap ({rule}): difficult objects are not marked and all count (VOC's Annotations mark them)"
    else:
        changes["fingerprint"] = fingerprint(classes, records, difficult=True)
        note = f"mean_ap ({rule}): {int(ignored.sum())} (image, class) pairs with only difficult objects do not count"
    return (
        average_precision(probabilities, labels, rule=rule, ignored_NC=ignored),
        base.model_copy(update=changes),
        [note],
    )


def _class_score(
    name: str, result: ClassScores, protocol: Protocol, classes: tuple[str, ...], left_out: list[str]
) -> Score:
    per_class = _named(classes, result.per_class)
    return Score(name=name, value=result.mean, protocol=protocol, per_class=per_class, extras={"left_out": left_out})


def _direct_scores(
    counted: ScoreAccumulator, classes: tuple[str, ...], config: ScoringConfig, base: Protocol
) -> dict[str, Score]:
    direct = counted.direct.result()
    threshold = None if counted.exclusive else config.probability  # exclusive: only the most probable class
    predicted = base.model_copy(update={"labels": "predicted", "probability": threshold})
    fixed = predicted.model_copy(update={"threshold": ThresholdRule(rule="fixed", values=(config.claim,))})
    swept = predicted.model_copy(
        update={"threshold": ThresholdRule(rule="swept", values=tuple(direct.thresholds.tolist()))}
    )
    at_claim = int(np.flatnonzero(direct.thresholds == config.claim)[0])
    return {
        "direct_miou": _sweep_score("direct_miou", direct, at_claim, fixed, classes),
        "direct_miou_best": _sweep_score("direct_miou_best", direct, direct.best, swept, classes),
    }


def _seed_scores(
    counted: ScoreAccumulator, classes: tuple[str, ...], config: ScoringConfig, base: Protocol, saliency: str | None
) -> dict[str, Score]:
    seeds, extent = counted.seeds.result(), counted.extent.result()
    swept = ThresholdRule(rule="swept", values=tuple(seeds.thresholds.tolist()))
    # Refined together, maps of the given labels may depend on which classes are predicted.
    outputs = base.outputs if base.refinement is not None else None
    given = base.model_copy(update={"labels": "given", "outputs": outputs})
    given_swept = given.model_copy(update={"threshold": swept})
    pointed = given.model_copy(update={"tolerance": config.pointing_tolerance})
    scores = {"seed_miou": _sweep_score("seed_miou", seeds, seeds.best, given_swept, classes)}
    if saliency is not None and counted.agreement.images:
        agreed = given.model_copy(update={"threshold": counted.agreement.rule(saliency)})
        score = _sweep_score("seed_miou_agreement", seeds, counted.agreement.best, agreed, classes)
        extras = score.extras | counted.agreement.figures()
        scores[score.name] = score.model_copy(update={"extras": extras})
    if not extent.pairs_per_class.sum():
        return scores
    pairs = {"pairs": int(extent.pairs_per_class.sum()), "empty_maps": extent.empty_maps}
    best = {"best_threshold": float(seeds.thresholds[seeds.best])}
    for name, value, per_class, protocol, curve, extras in (
        ("energy", extent.energy, extent.energy_per_class, given, None, pairs),
        ("pointing", extent.pointing, extent.pointing_per_class, pointed, None, pairs),
        ("coverage", extent.coverage[seeds.best], extent.coverage_per_class[seeds.best], given_swept, extent.coverage,
         pairs | best),
        ("precision", extent.precision[seeds.best], extent.precision_per_class[seeds.best], given_swept,
         extent.precision, pairs | best),
    ):  # fmt: skip
        if np.isfinite(value):
            scores[name] = Score(
                name=name,
                value=float(value),
                protocol=protocol,
                per_class=_named(classes, per_class),
                curve=() if curve is None else _curve(seeds.thresholds, curve),
                extras=extras,
            )
    return scores


def _sweep_score(name: str, result: SweepResult, at: int, protocol: Protocol, classes: tuple[str, ...]) -> Score:
    miou, per_class = result.at(at)
    names = ("background", *classes)
    absent = [names[index] for index in np.flatnonzero(np.isnan(per_class))]
    return Score(
        name=name,
        value=miou,
        protocol=protocol,
        per_class=_named(names, per_class),
        curve=_curve(result.thresholds, result.miou),
        extras={"threshold": float(result.thresholds[at]), "left_out": absent},
    )


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}


def _curve(thresholds: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in zip(thresholds, values, strict=True) if np.isfinite(y))
