"""Which data has one label an image, and what follows for the learning rates of the head."""

from __future__ import annotations

__all__ = ["CROSS_ENTROPY", "EXCLUSIVE", "HEAD_RATES", "SOURCE", "STEEPEST", "is_exclusive"]

from collections.abc import Mapping
from typing import Any

SOURCE = "source"
"""The field that selects a source of data, labels or maps. The other fields of its section depend on the source."""
EXCLUSIVE = "exclusive"
"""The field of data that says whether each image has one label, whatever the source says."""
EXCLUSIVE_SOURCES = frozenset({"folder", "look_alikes", "cifar10", "cifar100", "caltech256"})
"""Sources whose images have one label each."""
CROSS_ENTROPY = frozenset({"gain", "grad_cam", "icasc"})
"""Methods that train on such sources by cross-entropy: its gradient is about as many times that of the soft margin, the
loss of several labels an image, as there are classes."""
STEEPEST = 10.0
"""The largest `optimizer.multipliers.head_weight` with which training starts well on them; the field's default."""
HEAD_RATES = ("head_weight", "head_bias")


def is_exclusive(data: Mapping[str, Any]) -> bool:
    """Whether each image of a data section has one label."""
    declared = data.get(EXCLUSIVE)
    return declared if isinstance(declared, bool) else data.get(SOURCE) in EXCLUSIVE_SOURCES
