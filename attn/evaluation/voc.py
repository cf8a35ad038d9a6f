"""PASCAL VOC's classification protocol: its average precision, and its objects that are too difficult to count.

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
"""How a curve of precision over recall becomes one number.

`sklearn`: scikit-learn's, the area under its steps, without interpolation. `voc2010`: from VOC 2010 on, the area under
its envelope, which is the highest precision at this recall or a higher one. `voc2007`: up to VOC 2009, the mean of that
envelope at the recalls 0, 0.1, ... 1.
"""

Difficult = Literal["ignored", "unknown"]
"""Whether images that show nothing but difficult objects of a class were left out of it, or it is unknown which do."""


def voc2010_ap(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> float:
    """Area under the envelope of one class's curve; images of equal score count in the order that they have."""
    envelope, hits = _curve(labels_N, scores_N)
    return float(envelope[hits].mean())


def voc2007_ap(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> float:
    """Mean of the envelope at eleven recalls; images of equal score count in the order that they have."""
    envelope, hits = _curve(labels_N, scores_N)
    found = np.cumsum(hits)
    # A recall of k/10 is reached exactly, and not by a rounding error later, where whole numbers are compared.
    first = np.searchsorted(10 * found, np.arange(11) * found[-1])
    return float(envelope[first].mean())


def _curve(labels_N: NDArray[Any], scores_N: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """By descending score, the highest precision from each image on, and whether the image has the class."""
    hits = labels_N[np.argsort(-scores_N.astype(np.float64), kind="stable")] == 1
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1], hits


def difficult_objects(records: Sequence[Record]) -> Difficult:
    """Whether the difficult objects of these images can be ignored."""
    return "unknown" if any(record.difficult is None for record in records) else "ignored"


def difficult_pairs(records: Sequence[Record], num_classes: int) -> NDArray[np.bool_]:
    """The pairs that VOC leaves out, bool (N, C): where the image shows only difficult objects of the class."""
    pairs = np.zeros((len(records), num_classes), bool)
    for row, record in enumerate(records):
        pairs[row, list(record.difficult or ())] = True
    return pairs
