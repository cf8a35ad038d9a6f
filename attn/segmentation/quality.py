"""Quality of cues over a data set, at one threshold or at a grid of thresholds.

Shapes: H×W image, C classes without background, T thresholds of the maps, S of the background. A cue matrix is int64
(C + 1, C + 2): rows are the truth, columns the cue, the last one for pixels that the cues leave open.
"""

from __future__ import annotations

__all__ = ["CueQuality", "CueSweep", "cue_matrix"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.confusion import mean_iou
from attn.segmentation.cues import IGNORE, CueRule, Labels, Maps, shape_of


def cue_matrix(cues_HW: Labels, truth_HW: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count an image's pixels by truth and cue; those whose truth is void do not count.

    Raises:
        ValueError: Shapes differ, or a label is out of range.
    """
    cues, truth = np.asarray(cues_HW), np.asarray(truth_HW)
    if cues.shape != truth.shape:
        raise ValueError(f"cues {cues.shape} and truth {truth.shape} differ in shape")
    return _count(_columns(cues, num_classes), *_truth(truth, num_classes), num_classes)


@dataclass(frozen=True)
class CueQuality:
    """Scores of a cue matrix. All shares are of pixels; per class: (C + 1,), background first, NaN where undefined.

    Attributes:
        coverage: Share of the pixels that have a cue; per class, of the class's own pixels.
        precision: Share of the cues that are right; per class, of the class's own cues.
        miou: Over the pixels that have a cue.
        miou_all: The same, pixels without a cue counting as missed.
    """

    coverage: float
    coverage_per_class: NDArray[np.float64]
    precision: float
    precision_per_class: NDArray[np.float64]
    miou: float
    iou_per_class: NDArray[np.float64]
    miou_all: float

    @classmethod
    def of(cls, matrix: NDArray[np.int64]) -> CueQuality:
        """Of a cue matrix."""
        decided = matrix[:, :-1]
        hits, labelled, pixels = np.diagonal(decided), int(decided.sum()), int(matrix.sum())
        miou, per_class = mean_iou(decided)
        # The intersections are the same; the union also holds what is open.
        whole = hits / np.maximum(matrix.sum(1) + decided.sum(0) - hits, 1)
        known = (matrix.sum(1) + decided.sum(0)) > 0
        return cls(
            coverage=labelled / pixels if pixels else float("nan"),
            coverage_per_class=_divided(decided.sum(1), matrix.sum(1)),
            precision=float(hits.sum()) / labelled if labelled else float("nan"),
            precision_per_class=_divided(hits, decided.sum(0)),
            miou=miou,
            iou_per_class=per_class,
            miou_all=float(whole[known].mean()) if known.any() else float("nan"),
        )

    def figures(self) -> dict[str, float]:
        """The plain figures that are defined, by name."""
        values = {
            "coverage": self.coverage, "precision": self.precision, "miou": self.miou, "miou_all": self.miou_all,
        }  # fmt: skip
        return {name: value for name, value in values.items() if np.isfinite(value)}

    def table(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One row a class, background first."""
        columns = {
            "coverage": self.coverage_per_class,
            "precision": self.precision_per_class,
            "iou": self.iou_per_class,
        }
        return [
            {"class": name} | {key: None if np.isnan(v[row]) else float(v[row]) for key, v in columns.items()}
            for row, name in enumerate(names)
        ]


class CueSweep:
    """The cue matrices of all pairs of a map threshold and a background threshold, in one pass over the images.

    Each map threshold costs one decision and one count; the background thresholds come out of a cumulative sum.
    """

    def __init__(
        self, rule: CueRule, num_classes: int, foreground: Sequence[float], background: Sequence[float]
    ) -> None:
        self.rule, self.num_classes = rule, num_classes
        self.foreground, self.background = np.asarray(foreground, float), np.asarray(background, np.float32)
        for values in (self.foreground, self.background):
            if values.ndim != 1 or not values.size or (np.diff(values) <= 0).any():
                raise ValueError(f"thresholds must rise, each once, and be at least one; got {values.tolist()}")
        shape = (self.foreground.size, self.background.size, num_classes + 1, num_classes + 2)
        self.matrices: NDArray[np.int64] = np.zeros(shape, np.int64)

    def add(self, maps: Maps, saliency: NDArray[Any] | None, truth_HW: NDArray[np.uint8]) -> None:
        """Count one image."""
        shape = shape_of(maps, saliency, np.shape(truth_HW))  # pyright: ignore[reportArgumentType]
        counted, truth = _truth(np.asarray(truth_HW), self.num_classes)
        bins = None
        for row, threshold in enumerate(self.foreground):
            decision = self.rule.decide(maps, saliency, shape, float(threshold))
            if bins is None:  # below the thresholds from here on
                bins = np.searchsorted(self.background, decision.evidence[counted], side="right")
            self.matrices[row] += self._between(decision.below, decision.above, counted, truth, bins)

    def values(self, figure: str) -> list[list[float | None]]:
        """A figure at every pair of thresholds, None where it is undefined."""
        results = [[getattr(CueQuality.of(matrix), figure) for matrix in row] for row in self.matrices]
        return [[None if np.isnan(value) else float(value) for value in row] for row in results]

    def rows(self) -> list[dict[str, float | None]]:
        """The figures of each pair of thresholds, with the thresholds as `foreground` and `background`."""
        names = ("coverage", "precision", "miou", "miou_all")
        grids = {name: self.values(name) for name in names}
        return [
            {"foreground": float(foreground), "background": round(float(background), 4)}
            | {name: grids[name][row][column] for name in names}
            for row, foreground in enumerate(self.foreground)
            for column, background in enumerate(self.background)
        ]

    def best(self, figure: str = "miou_all") -> tuple[float, float, CueQuality]:
        """The thresholds with the highest value of a figure, and the quality there."""
        values = np.array([[-1.0 if value is None else value for value in row] for row in self.values(figure)])
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        quality = CueQuality.of(self.matrices[row, column])
        return float(self.foreground[row]), float(self.background[column]), quality

    def _between(
        self,
        below: Labels,
        above: Labels,
        counted: NDArray[np.bool_],
        truth: NDArray[np.int64],
        bins: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """(S, C + 1, C + 2): pixels count with `below` at the thresholds from their bin on, with `above` before."""
        thresholds, width, size = len(self.background), self.num_classes + 2, (self.num_classes + 1)
        shape = (thresholds + 1, size, width)

        def binned(labels: Labels) -> NDArray[np.int64]:
            cell = (bins * size + truth) * width + _columns(labels[counted], self.num_classes)
            return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)

        low, high = binned(below).cumsum(0)[:-1], binned(above)
        return low + high.sum(0) - high.cumsum(0)[:-1]


def _truth(truth_HW: NDArray[Any], num_classes: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    counted = truth_HW != IGNORE
    truth = truth_HW[counted].astype(np.int64)
    if truth.size and truth.max() > num_classes:
        raise ValueError(f"the truth holds index {truth.max()}, expected at most {num_classes} or {IGNORE}")
    return counted, truth


def _columns(labels: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    columns = np.where(labels == IGNORE, num_classes + 1, labels).astype(np.int64)
    if columns.size and columns.max() > num_classes + 1:
        raise ValueError(f"cues hold index {columns.max()}, expected at most {num_classes} or {IGNORE}")
    return columns


def _count(
    columns_HW: NDArray[np.int64], counted: NDArray[np.bool_], truth: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    width = num_classes + 2
    counts = np.bincount(truth * width + columns_HW[counted], minlength=(num_classes + 1) * width)
    return counts.reshape(num_classes + 1, width)


def _divided(values: NDArray[np.int64], by: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(values, by, out=np.full(values.shape, np.nan), where=by > 0)
