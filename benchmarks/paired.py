"""Return whether classifiers differ, or only on the images at hand: a paired bootstrap of the change in their mAP.

    python -m benchmarks.paired BEFORE AFTER [AFTER ...] [--classes cat,dog] [a.b=value ...]

BEFORE and each AFTER is a model, or the models of several seeds with commas between them, as many in each and in the
same order. Each AFTER's change from BEFORE stands in a table, seed by seed and as their mean, over `--classes`.

Where a class has few positive images, mAP depends on which they are. So images are drawn with replacement, as many as
there are, 2,000 times; all models are scored on the same draw, and 95 % of the changes lie in the interval that is
given (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). The models are held fixed: how much
another seed changes, the rows tell.
"""

from __future__ import annotations

__all__ = ["Changes", "main", "paired_changes"]

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attn.errors import AttnError, ConfigError, DataError
from attn.evaluation.classification import average_precision
from attn.evaluation.inference import ImageMaps
from jobs.scoring.targets import open_target

DRAWS = 2000


@dataclass(frozen=True)
class Changes:
    """Changes of mAP from the first group of models; G groups, S seeds.

    Attributes:
        scores: float64 (G, S), each model's own mAP, in [0, 1].
        low: float64 (G - 1, S + 1), where 95 % of the changes begin: seed by seed, and last their mean; NaN where
            some draw has no positive or no negative image of any class.
        high: Where they end.
    """

    scores: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class _Scored:
    """What a model makes of N images: labels and probabilities are (N, C), C the classes' names."""

    images: list[str]
    classes: list[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def main(groups: list[list[str]], overrides: list[str], classes: Sequence[str] = ()) -> None:
    """Score the models, and print the table.

    Args:
        groups: Models by seed; the first group is what the others are compared with.
        overrides: Of the evaluation.
        classes: Names; of all that the data has, when there are none.

    Raises:
        AttnError: The groups do not fit each other, or there is no such model, class or data.
    """
    if len(groups) < 2 or len({len(group) for group in groups}) > 1:
        counts = ", ".join(str(len(group)) for group in groups)
        raise ConfigError(f"models to compare: {counts}; give two groups or more of as many, such as a0,a1 b0,b1")
    scored: list[_Scored] = []
    for model in (model for group in groups for model in group):
        scored.append(one := _scored(model, overrides, classes))
        if one.images != scored[0].images or not np.array_equal(one.labels, scored[0].labels):
            raise DataError(f"{model} has other images or labels to be scored on than {groups[0][0]}: give data.*")
        mean_ap = average_precision(one.probabilities, one.labels).mean
        print(f"{model}: mAP {100 * mean_ap:.1f}", file=sys.stderr, flush=True)
    labels = scored[0].labels
    shown = [f"{name} {count}" for name, count in zip(scored[0].classes, labels.sum(0), strict=True)]
    print(f"{len(labels)} images; with {', '.join(shown)}\n")
    scores = np.array([one.probabilities for one in scored])
    print("\n".join(_table(groups, paired_changes(scores.reshape(len(groups), -1, *labels.shape), labels))))


def paired_changes(scores_GSNC: NDArray[np.float64], labels_NC: NDArray[np.int64]) -> Changes:
    """Each group's change of mAP from the first group, and how far it depends on which images there are.

    Args:
        scores_GSNC: Scores of G groups of S models, of the same N images and C classes.
        labels_NC: 0 or 1.
    """

    def mean_ap(images: NDArray[np.intp]) -> NDArray[np.float64]:
        labels = labels_NC[images]
        return np.array([[average_precision(one[images], labels).mean for one in group] for group in scores_GSNC])

    def changes(images: NDArray[np.intp]) -> NDArray[np.float64]:
        scores = mean_ap(images)
        by_seed = scores[1:] - scores[:1]
        return np.concatenate((by_seed, by_seed.mean(1, keepdims=True)), axis=1).ravel()

    count = len(labels_NC)
    drawn = [changes(images) for images in np.random.default_rng(0).integers(0, count, (DRAWS, count))]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0).reshape(2, len(scores_GSNC) - 1, -1)
    return Changes(mean_ap(np.arange(count)), low, high)


def _scored(model: str, overrides: list[str], classes: Sequence[str]) -> _Scored:
    target = open_target(model, [*overrides, "evaluation.maps=false"])
    available = list(target.source.classes)
    if unknown := [name for name in classes if name not in available]:
        raise ConfigError(f"--classes {','.join(unknown)} is not available: {', '.join(available)}")
    names = list(classes or available)
    columns = [available.index(name) for name in names]
    images: list[str] = []
    probabilities: list[NDArray[np.float64]] = []
    labels: list[list[int]] = []

    def observe(image: ImageMaps) -> None:
        if image.probabilities is None:
            raise DataError(f"{model} has no class probabilities: give a classifier")
        images.append(image.record.image_id)
        probabilities.append(image.probabilities[columns])
        labels.append([int(column in image.record.labels) for column in columns])

    target.evaluate(observe)
    return _Scored(images, names, np.array(labels), np.array(probabilities))


def _table(groups: list[list[str]], compared: Changes) -> list[str]:
    lines = ["| after | before | mAP before | after | change | 95 % of draws |", "|---|---|---|---|---|---|"]
    for index, group in enumerate(groups[1:]):
        before, after = compared.scores[0], compared.scores[index + 1]
        rows = [*zip(group, groups[0], before, after, strict=True), ("mean", "mean", before.mean(), after.mean())]
        for (name, was, old, new), low, high in zip(rows, compared.low[index], compared.high[index], strict=True):
            between = "too few images" if np.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"
            values = f"{100 * old:.1f} | {100 * new:.1f} | {100 * (new - old):.1f}"
            lines.append(f"| {name} | {was} | {values} | {between} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", nargs="+", metavar="BEFORE AFTER [AFTER ...] [a.b=value ...]")
    parser.add_argument("--classes", default="", help="names with commas between them; all without it")
    arguments = parser.parse_intermixed_args()
    models = [text.split(",") for text in arguments.given if "=" not in text]
    try:
        main(
            models,
            [text for text in arguments.given if "=" in text],
            [name for name in arguments.classes.split(",") if name],
        )
    except AttnError as error:
        sys.exit(str(error))
