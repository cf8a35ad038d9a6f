"""How well maps segment: every threshold of a grid in one pass over the images, exactly.

Legend: H×W image size, C classes without background, T thresholds. Truth masks are uint8: 0 background, class index +
1, 255 ignored. Maps are given per class, in the image's own frame, in [0, 1], each normalised by its own maximum there.
"""

from __future__ import annotations

__all__ = ["DirectSweep", "SeedSweep", "SweepResult", "threshold_grid"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.confusion import mean_iou, per_class_iou

IGNORE = 255
Maps = Mapping[int, NDArray[Any]]


def threshold_grid(count: int) -> NDArray[np.float64]:
    """`count` thresholds 0, 1/count, 2/count, ...: 1 is left out, no map exceeds it."""
    return np.arange(count) / count


@dataclass(frozen=True)
class SweepResult:
    """mIoU at every threshold.

    Attributes:
        thresholds, miou: float64 (T,).
        best: Index of the highest mIoU; the lowest threshold among equals.
        matrices: int64 (T, C+1, C+1), rows are the truth.
    """

    thresholds: NDArray[np.float64]
    miou: NDArray[np.float64]
    best: int
    matrices: NDArray[np.int64]

    def at(self, index: int) -> tuple[float, NDArray[np.float64]]:
        """mIoU and IoU of each class, background first, at the threshold of that index."""
        return mean_iou(self.matrices[index])


class _Sweep:
    """Confusion matrices of all thresholds, kept as differences along the grid.

    A pixel is predicted as class c at the thresholds of one interval [low, high) of the grid; adding 1 at `low` and
    taking it away at `high` makes an image cost the same for one threshold as for a hundred.
    """

    def __init__(self, num_classes: int, thresholds: Sequence[float] | NDArray[np.float64]) -> None:
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        if self.thresholds.ndim != 1 or not self.thresholds.size or (np.diff(self.thresholds) <= 0).any():
            raise ValueError("thresholds must be given in rising order, each once, and at least one of them")
        if self.thresholds[0] < 0:
            raise ValueError(f"thresholds must not be negative, got {self.thresholds[0]}")
        self.num_classes = num_classes
        self._truth = np.zeros(num_classes + 1, np.int64)
        self._steps = np.zeros((num_classes + 1, num_classes, self.thresholds.size + 1), np.int64)

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self._truth.sum())

    def result(self) -> SweepResult:
        """Scores of everything added so far."""
        objects = self._steps.cumsum(-1)[..., :-1]
        background = self._truth[:, None] - objects.sum(1)
        matrices = np.concatenate([background[:, None], objects], axis=1).transpose(2, 0, 1)
        iou = per_class_iou(matrices)
        known = ~np.isnan(iou)
        count = known.sum(1)
        total = np.where(known, iou, 0.0).sum(1)
        miou = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        best = int(np.nanargmax(miou)) if known.any() else 0
        return SweepResult(self.thresholds, miou, best, np.ascontiguousarray(matrices))

    def _bins(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """How many thresholds each value exceeds."""
        return np.searchsorted(self.thresholds, values, side="left")

    def _count_truth(self, truth: NDArray[np.int64]) -> None:
        self._truth += np.bincount(truth, minlength=self.num_classes + 1)

    def _add(self, truth: NDArray[np.int64], class_index: int, low: NDArray[Any] | int, high: NDArray[Any]) -> None:
        """Predict the class at the thresholds with index in [low, high), for each pixel."""
        width, rows = self.thresholds.size + 1, self.num_classes + 1
        steps = np.bincount(truth * width + low, minlength=rows * width)
        steps -= np.bincount(truth * width + high, minlength=rows * width)
        self._steps[:, class_index] += steps.reshape(rows, width)


class SeedSweep(_Sweep):
    """Quality of the maps as segmentation seeds: maps of the given labels, one background score for all images.

    A pixel goes to the class with the largest map where that exceeds the threshold, to the background otherwise; of
    equal maps the first class wins. Seed mIoUs of weakly supervised segmentation are quoted by this evaluation.
    """

    def add(self, maps: Maps, truth_HW: NDArray[np.uint8]) -> None:
        """Count one image. An image without maps is background everywhere.

        Raises:
            ValueError: A map has another shape than the truth, holds NaN or leaves [0, 1], or a class is out of range.
        """
        counted, truth = _counted(truth_HW, self.num_classes)
        stack = _stacked(maps, counted, self.num_classes)
        self._count_truth(truth)
        if not len(stack):
            return
        winner = stack.argmax(0)
        bins = self._bins(stack.max(0))
        for row, class_index in enumerate(sorted(maps)):
            won = winner == row
            self._add(truth[won], class_index, np.zeros(int(won.sum()), np.int64), bins[won])


class DirectSweep(_Sweep):
    """Direct evaluation (AttnBN section 4.2): maps of the predicted classes, overlaps to the larger prediction score.

    A map claims the pixels where it exceeds the threshold, as a share of its maximum; a pixel goes to the class with
    the largest prediction score among those that claim it, and to the background where none does.
    """

    def add(self, maps: Maps, scores: Mapping[int, float], truth_HW: NDArray[np.uint8]) -> None:
        """Count one image, given the maps and prediction scores of its predicted classes.

        Raises:
            ValueError: As for seeds, or a map's class has no score.
        """
        if missing := sorted(set(maps) - set(scores)):
            raise ValueError(f"classes {missing} have a map but no prediction score")
        counted, truth = _counted(truth_HW, self.num_classes)
        stack = dict(zip(sorted(maps), _stacked(maps, counted, self.num_classes), strict=True))
        self._count_truth(truth)
        claimed = np.zeros(truth.size, np.int64)
        for class_index in sorted(maps, key=lambda index: (-scores[index], index)):
            bins = np.maximum(self._bins(stack[class_index]), claimed)
            self._add(truth, class_index, claimed, bins)
            claimed = bins


def _counted(truth_HW: NDArray[np.uint8], num_classes: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    truth = np.asarray(truth_HW)
    counted = truth != IGNORE
    values = truth[counted].astype(np.int64)
    if values.size and values.max() > num_classes:
        raise ValueError(f"the truth holds index {values.max()}, expected at most {num_classes} or {IGNORE}")
    return counted, values


def _stacked(maps: Maps, counted: NDArray[np.bool_], num_classes: int) -> NDArray[Any]:
    rows = []
    for class_index in sorted(maps):
        values = np.asarray(maps[class_index])
        if not 0 <= class_index < num_classes:
            raise ValueError(f"class {class_index} is not in [0, {num_classes})")
        if values.shape != counted.shape:
            raise ValueError(f"the map of class {class_index} is {values.shape}, the truth {counted.shape}")
        values = values[counted]
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN fails the comparison as well
            raise ValueError(f"the map of class {class_index} must be in [0, 1], got {values.min()} to {values.max()}")
        rows.append(values)
    return np.stack(rows) if rows else np.zeros((0, int(counted.sum())))
