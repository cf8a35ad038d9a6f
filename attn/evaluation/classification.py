"""Classification scores. Shapes: N images, C classes."""

from __future__ import annotations

__all__ = [
    "ClassScores",
    "average_precision",
    "predicted_classes",
    "roc_auc",
    "threshold_accuracy",
    "top_k_accuracy",
]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.voc import AveragePrecisionRule, voc2007_ap, voc2010_ap


@dataclass(frozen=True)
class ClassScores:
    """A score per class and its mean over the classes that have one.

    Attributes:
        mean: NaN if no class has a score.
        per_class: float64 (C,); NaN for a class without a score.
        left_out: Indices of these classes: the data lacks positive or negative images.
    """

    mean: float
    per_class: NDArray[np.float64]
    left_out: tuple[int, ...]


def average_precision(
    scores_NC: NDArray[Any],
    labels_NC: NDArray[Any],
    *,
    rule: AveragePrecisionRule = "sklearn",
    ignored_NC: NDArray[np.bool_] | None = None,
) -> ClassScores:
    """Average precision of each class, and the mean over classes.

    Classes without positive images or without negative images have no score.

    Args:
        rule: See `AveragePrecisionRule`. With VOC's rules, images of equal score keep their order.
        ignored_NC: (image, class) pairs that do not count: see `attn.evaluation.voc.difficult_pairs`.

    Raises:
        ValueError: Shapes differ, labels are not 0 or 1, or a score is NaN.
    """
    metric = {"sklearn": _area_under_steps, "voc2010": voc2010_ap, "voc2007": voc2007_ap}[rule]
    return _per_class(metric, scores_NC, labels_NC, ignored_NC)


def roc_auc(scores_NC: NDArray[Any], labels_NC: NDArray[Any]) -> ClassScores:
    """Area under the ROC curve of each class, and the mean over classes. See `average_precision`."""
    from sklearn.metrics import roc_auc_score

    return _per_class(roc_auc_score, scores_NC, labels_NC)


def threshold_accuracy(
    probabilities_NC: NDArray[Any], labels_NC: NDArray[Any], *, threshold: float = 0.5
) -> tuple[ClassScores, ClassScores]:
    """Recall and specificity of each class, if classes with a probability above `threshold` are predicted.

    On the biased splits of GAIN's Table 4 these are its rows: recall for objects without their context ("boat without
    water"), specificity for the context alone ("water without boat").

    Returns:
        Recall, without a score for classes without positive images; specificity, without a score for classes without
        negative images.
    """
    probabilities, labels = _checked(probabilities_NC, labels_NC)
    predicted, present = probabilities > threshold, labels == 1
    return _ratio(predicted & present, present), _ratio(~predicted & ~present, ~present)


def top_k_accuracy(probabilities_NC: NDArray[Any], labels_NC: NDArray[Any], k: int = 1) -> ClassScores:
    """Share of images with their class among the `k` most probable ones, for exclusive classes.

    Of equal probabilities, the class of the lower index comes first.

    Returns:
        `mean` is the share of all images (not the mean over classes); `per_class` the share of each class's images.

    Raises:
        ValueError: Shapes differ, an image does not have exactly one class, or k is below 1.
    """
    probabilities, labels = _checked(probabilities_NC, labels_NC)
    if k < 1 or (labels.sum(1) != 1).any():
        raise ValueError(f"top-{k} accuracy needs k of at least 1, and exactly one class per image")
    first = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    hit_N1 = (first == labels.argmax(1)[:, None]).any(1)[:, None]
    result = _ratio(hit_N1 & (labels == 1), labels == 1)
    return ClassScores(float(hit_N1.mean()) if len(hit_N1) else float("nan"), result.per_class, result.left_out)


def predicted_classes(probabilities_C: NDArray[Any], *, threshold: float, exclusive: bool) -> tuple[int, ...]:
    """Predicted classes of an image: the most probable one if classes are exclusive, else all above the threshold."""
    if exclusive:
        return (int(np.argmax(probabilities_C)),)
    return tuple(int(index) for index in np.flatnonzero(probabilities_C > threshold))


def _ratio(hits_NC: NDArray[np.bool_], of_NC: NDArray[np.bool_]) -> ClassScores:
    total = of_NC.sum(0)
    values = np.divide(hits_NC.sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)
    return _summary(values)


def _area_under_steps(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> float:
    """`sklearn.metrics.average_precision_score` of one class, whose import would take as long as PyTorch's.

    Images of equal score share a threshold, and so a point of the precision-recall curve.
    """
    order = np.argsort(-scores_N.astype(np.float64), kind="stable")
    hits, scores = np.cumsum(labels_N[order] == 1), scores_N[order]
    last = np.append(scores[1:] != scores[:-1], True)  # image of each threshold
    precision, recall = (hits / np.arange(1, len(hits) + 1))[last], hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision)[::-1].sum())


def _per_class(
    metric: Any, scores_NC: NDArray[Any], labels_NC: NDArray[Any], ignored_NC: NDArray[np.bool_] | None = None
) -> ClassScores:
    scores, labels = _checked(scores_NC, labels_NC)
    counted = np.ones(labels.shape, bool) if ignored_NC is None else ~ignored_NC
    if counted.shape != labels.shape:
        raise ValueError(f"ignored {counted.shape} and labels {labels.shape} must both be (images, classes)")
    decided = ((labels == 0) & counted).any(0) & ((labels == 1) & counted).any(0)
    values = np.full(labels.shape[1], np.nan)
    for index in np.flatnonzero(decided):
        rows = counted[:, index]
        values[index] = metric(labels[rows, index], scores[rows, index])
    return _summary(values)


def _summary(values: NDArray[np.float64]) -> ClassScores:
    known = ~np.isnan(values)
    mean = float(values[known].mean()) if known.any() else float("nan")
    return ClassScores(mean, values, tuple(int(index) for index in np.flatnonzero(~known)))


def _checked(scores_NC: NDArray[Any], labels_NC: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    scores, labels = np.asarray(scores_NC), np.asarray(labels_NC)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (images, classes)")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN")
    return scores, labels
