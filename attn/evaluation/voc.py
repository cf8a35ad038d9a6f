"""PASCAL VOC's classification protocol: average precision, and objects marked as difficult.

The rules are those of the development kit (`VOCevalcls.m`, `VOCap.m`; Everingham et al. 2010, section 4.1).
"""

from __future__ import annotations

__all__ = ["AveragePrecisionRule", "Difficult", "difficult_objects", "difficult_pairs", "voc2007_ap", "voc2010_ap"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from attn.data.sample import Record

AveragePrecisionRule = Literal["sklearn", "voc2010", "voc2007"]
"""Rule by which average precision is computed from the precision-recall curve.

`sklearn`: area under the steps, without interpolation, as in scikit-learn. `voc2010` (since VOC 2010): area under the
envelope, which is the highest precision at the same or a higher recall. `voc2007` (until VOC 2009): mean of the
envelope at the recalls 0, 0.1, ... 1.
"""

Difficult = Literal["ignored", "unknown"]
"""`ignored`: images with only difficult objects of a class did not count for it. `unknown`: the data marks none."""


def voc2010_ap(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> float:
    """Area under the envelope of one class's curve; images of equal score keep their order."""
    envelope, hits = _curve(labels_N, scores_N)
    return float(envelope[hits].mean())


def voc2007_ap(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> float:
    """Mean of the envelope at eleven recalls; images of equal score keep their order."""
    envelope, hits = _curve(labels_N, scores_N)
    result = np.cumsum(hits)
    # Compare integers, so that a recall of k/10 is found without rounding errors.
    first = np.searchsorted(10 * result, np.arange(11) * result[-1])
    return float(envelope[first].mean())


def _curve(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """In descending order of score: the envelope of the precision, and whether each image has the class."""
    hits = labels_N[np.argsort(-scores_N.astype(np.float64), kind="stable")] == 1
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1], hits


def difficult_objects(records: Sequence[Record]) -> Difficult:
    """Return whether the data marks the difficult objects of all these images."""
    return "unknown" if any(record.difficult is None for record in records) else "ignored"


def difficult_pairs(records: Sequence[Record], num_classes: int) -> NDArray[np.bool_]:
    """The pairs that VOC ignores, bool (N, C): the image shows only difficult objects of the class."""
    pairs = np.zeros((len(records), num_classes), bool)
    for row, record in enumerate(records):
        pairs[row, list(record.difficult or ())] = True
    return pairs
