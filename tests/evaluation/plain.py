"""Scores by their definitions, in plain NumPy."""

from __future__ import annotations

import numpy as np


def plain_ap(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over positives of the precision among all images with at least that score."""
    return float(np.mean([labels[scores >= score].mean() for score in scores[labels == 1]]))
