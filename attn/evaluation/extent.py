"""Extent of attention maps: energy, pointing game, coverage and precision of each (image, class) pair.

A map on one distinctive part of the object hits it and is precise, but covers little of it. The methods of this project
aim to increase coverage without losing energy to the surroundings.
"""

from __future__ import annotations

__all__ = ["Extent", "ExtentResult", "exceeding"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.localization import IGNORE, Maps


@dataclass(frozen=True)
class ExtentResult:
    """Means over all pairs, and over the pairs of each class: (C,), NaN for a class without pairs.

    Attributes:
        energy: Share of the map's sum that is on the object.
        pointing: Share of pairs with the map's maximum on the object.
        coverage: Share of the object's area where the map exceeds the threshold; (T,) and (T, C).
        precision: Share of the area above the threshold that is on the object; pairs without such an area do not count
            at that threshold.
        pairs_per_class: Number of counted pairs of each class.
        without_object: Number of pairs that do not count, as the mask has no pixel of the class.
        empty_maps: Number of pairs with an all-zero map; they count as energy 0, a miss, and coverage 0.
    """

    energy: float
    energy_per_class: NDArray[np.float64]
    pointing: float
    pointing_per_class: NDArray[np.float64]
    coverage: NDArray[np.float64]
    coverage_per_class: NDArray[np.float64]
    precision: NDArray[np.float64]
    precision_per_class: NDArray[np.float64]
    pairs_per_class: NDArray[np.int64]
    without_object: int
    empty_maps: int


class Extent:
    """Accumulates means over (image, class) pairs; pixels marked 255 are ignored."""

    def __init__(
        self, num_classes: int, thresholds: Sequence[float] | NDArray[np.float64], *, tolerance: int = 0
    ) -> None:
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        self.tolerance = tolerance
        self.num_classes = num_classes
        self._pairs = np.zeros(num_classes, np.int64)
        self._energy = np.zeros(num_classes)
        self._pointing = np.zeros(num_classes)
        self._coverage = np.zeros((self.thresholds.size, num_classes))
        self._precision = np.zeros((self.thresholds.size, num_classes))
        self._claiming = np.zeros((self.thresholds.size, num_classes), np.int64)
        self.without_object = self.empty_maps = 0

    def add(self, maps: Maps, truth_HW: NDArray[np.uint8]) -> None:
        """Add the pairs of one image.

        Args:
            maps: Maps of the given labels in [0, 1] by class index, at the size of the mask.
            truth_HW: Mask: 0 background, class index + 1, 255 ignored.
        """
        truth = np.asarray(truth_HW)
        counted = truth != IGNORE
        for class_index in sorted(maps):
            values = np.where(counted, maps[class_index], 0.0)
            inside = truth == class_index + 1
            if not inside.any():
                self.without_object += 1
                continue
            self._pairs[class_index] += 1
            mass = float(values.sum(dtype=np.float64))
            if mass <= 0:
                self.empty_maps += 1
                continue
            self._energy[class_index] += float(values[inside].sum(dtype=np.float64)) / mass
            self._pointing[class_index] += self._points_at(values, inside)
            self._add_area(class_index, values, inside, counted)

    def merge(self, other: Extent) -> None:
        """Add everything that another one with the same classes and thresholds has counted."""
        self._pairs += other._pairs
        self._energy += other._energy
        self._pointing += other._pointing
        self._coverage += other._coverage
        self._precision += other._precision
        self._claiming += other._claiming
        self.without_object += other.without_object
        self.empty_maps += other.empty_maps

    def result(self) -> ExtentResult:
        """The means over everything added so far."""
        pairs, all_pairs = self._pairs, max(int(self._pairs.sum()), 1)
        return ExtentResult(
            energy=float(self._energy.sum() / all_pairs),
            energy_per_class=_divided(self._energy, pairs),
            pointing=float(self._pointing.sum() / all_pairs),
            pointing_per_class=_divided(self._pointing, pairs),
            coverage=self._coverage.sum(1) / all_pairs,
            coverage_per_class=_divided(self._coverage, np.broadcast_to(pairs, self._coverage.shape)),
            precision=_divided(self._precision.sum(1), self._claiming.sum(1)),
            precision_per_class=_divided(self._precision, self._claiming),
            pairs_per_class=pairs.copy(),
            without_object=self.without_object,
            empty_maps=self.empty_maps,
        )

    def _points_at(self, values: NDArray[Any], inside: NDArray[np.bool_]) -> bool:
        """Return whether the maximum (the first in reading order) is within the tolerance of the object."""
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        reach = self.tolerance
        top, left = max(int(row) - reach, 0), max(int(column) - reach, 0)
        window = inside[top : int(row) + reach + 1, left : int(column) + reach + 1]
        rows, columns = np.nonzero(window)
        return bool(((rows + top - row) ** 2 + (columns + left - column) ** 2 <= reach**2).any())

    def _add_area(
        self, class_index: int, values: NDArray[Any], inside: NDArray[np.bool_], counted: NDArray[np.bool_]
    ) -> None:
        bins = np.searchsorted(self.thresholds, values[counted], side="left")
        inside_bins = np.searchsorted(self.thresholds, values[inside], side="left")
        above = exceeding(bins, self.thresholds.size)
        hits = exceeding(inside_bins, self.thresholds.size)
        self._coverage[:, class_index] += hits / inside_bins.size
        self._precision[:, class_index] += hits / np.maximum(above, 1)
        self._claiming[:, class_index] += above > 0


def exceeding(bins: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number of values above each of `count` thresholds, given the number of thresholds that each value exceeds."""
    return np.bincount(bins, minlength=count + 1)[::-1].cumsum()[::-1][1:]


def _divided(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
