"""mIoU of masks made by thresholding attention maps, exact for all thresholds of a grid in one pass over the images.

Legend: H×W image size, C classes without background, T thresholds. Ground-truth masks are uint8: 0 background, class
index + 1, 255 ignored. Maps are in [0, 1] by class index, at the image's size, each divided by its own maximum.
"""

from __future__ import annotations

__all__ = ["DirectSweep", "SeedSweep", "SweepResult", "threshold_grid"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.confusion import mean_iou, per_class_iou

IGNORE = 255
Maps = Mapping[int, NDArray[Any]]


def threshold_grid(count: int) -> NDArray[np.float64]:
    """`count` thresholds 0, 1/count, 2/count, ...; without 1, which no map exceeds."""
    return np.arange(count) / count


@dataclass(frozen=True)
class SweepResult:
    """mIoU at every threshold.

    Attributes:
        thresholds, miou: float64 (T,).
        best: Index of the highest mIoU; the lowest threshold if several are equal.
        matrices: int64 (T, C+1, C+1); rows are the truth.
    """

    thresholds: NDArray[np.float64]
    miou: NDArray[np.float64]
    best: int
    matrices: NDArray[np.int64]

    def at(self, index: int) -> tuple[float, NDArray[np.float64]]:
        """mIoU, and IoU of each class (background first), at the threshold of an index."""
        return mean_iou(self.matrices[index])


class _Sweep:
    """Confusion matrices of all thresholds, stored as differences along the grid.

    A pixel is predicted as class c for the thresholds of one interval [low, high) of the grid. It is counted by adding
    1 at `low` and subtracting 1 at `high`, so the cost of an image does not depend on the number of thresholds.
    """

    def __init__(self, num_classes: int, thresholds: Sequence[float] | NDArray[np.float64]) -> None:
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        if self.thresholds.ndim != 1 or not self.thresholds.size or (np.diff(self.thresholds) <= 0).any():
            raise ValueError("thresholds must be at least one value, strictly increasing")
        if self.thresholds[0] < 0:
            raise ValueError(f"thresholds must be 0 or greater, found {self.thresholds[0]}")
        self.num_classes = num_classes
        self._truth = np.zeros(num_classes + 1, np.int64)
        self._steps = np.zeros((num_classes + 1, num_classes, self.thresholds.size + 1), np.int64)
        self._predicted: set[int] = set()  # classes whose steps are not all 0

    @property
    def pixels(self) -> int:
        """Number of counted pixels."""
        return int(self._truth.sum())

    def merge(self, other: Self) -> None:
        """Add everything that another sweep with the same classes and thresholds has counted."""
        self._truth += other._truth
        for class_index in other._predicted:  # of very many classes, most are in none of a few images
            self._steps[:, class_index] += other._steps[:, class_index]
        self._predicted |= other._predicted

    def __getstate__(self) -> dict[str, Any]:
        """Of a few images, most steps are 0: only the others are sent to another process."""
        places = np.flatnonzero(self._steps)
        if 2 * len(places) > self._steps.size:
            return self.__dict__
        return self.__dict__ | {"_steps": (self._steps.shape, places, self._steps.flat[places])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(state["_steps"], tuple):
            shape, places, values = state["_steps"]
            self._steps = np.zeros(shape, np.int64)
            self._steps.flat[places] = values

    def result(self) -> SweepResult:
        """The scores of everything added so far."""
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
        """The number of thresholds that each value exceeds."""
        return np.searchsorted(self.thresholds, values, side="left")

    def _count_truth(self, truth: NDArray[np.int64]) -> None:
        self._truth += np.bincount(truth, minlength=self.num_classes + 1)

    def _add(self, truth: NDArray[np.int64], class_index: int, low: NDArray[Any] | int, high: NDArray[Any]) -> None:
        """Count each pixel as predicted for the class at the thresholds with index in [low, high)."""
        width, rows = self.thresholds.size + 1, self.num_classes + 1
        steps = np.bincount(truth * width + low, minlength=rows * width)
        steps -= np.bincount(truth * width + high, minlength=rows * width)
        self._steps[:, class_index] += steps.reshape(rows, width)
        self._predicted.add(class_index)


class SeedSweep(_Sweep):
    """Seed protocol: quality of the maps of the given labels as segmentation seeds.

    A pixel is assigned to the class of the largest map if this exceeds the threshold (one background score for all
    images), else to the background. Of equal maps the first class wins. This is the usual evaluation of seeds in weakly
    supervised segmentation.
    """

    def add(self, maps: Maps, truth_HW: NDArray[np.uint8]) -> None:
        """Add one image. An image without maps is predicted as background.

        Raises:
            ValueError: A map has another shape than the mask, or values outside [0, 1] or NaN; or a class is out of
                range.
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
    """Direct protocol: maps of the predicted classes (AttnBN, section 4.2).

    A map claims the pixels where it exceeds the threshold, a share of its maximum. A pixel is assigned to the claiming
    class of the highest prediction score, or to the background if no class claims it.
    """

    def add(self, maps: Maps, scores: Mapping[int, float], truth_HW: NDArray[np.uint8]) -> None:
        """Add one image, with maps and prediction scores of its predicted classes.

        Raises:
            ValueError: As `SeedSweep.add`, or a map's class has no score.
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
        raise ValueError(f"the mask's indices must be at most {num_classes}, or {IGNORE}, not {values.max()}")
    return counted, values


def _stacked(maps: Maps, counted: NDArray[np.bool_], num_classes: int) -> NDArray[Any]:
    rows = []
    for class_index in sorted(maps):
        values = np.asarray(maps[class_index])
        if not 0 <= class_index < num_classes:
            raise ValueError(f"class {class_index} is not in [0, {num_classes})")
        if values.shape != counted.shape:
            raise ValueError(f"the map of class {class_index} has the shape {values.shape}, the mask {counted.shape}")
        values = values[counted]
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN fails the comparison as well
            low, high = values.min(), values.max()
            raise ValueError(f"the map of class {class_index} must be in [0, 1]; it ranges from {low} to {high}")
        rows.append(values)
    return np.stack(rows) if rows else np.zeros((0, int(counted.sum())))
