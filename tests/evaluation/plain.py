"""Scores by their definitions, in plain NumPy."""

from __future__ import annotations

import numpy as np


def plain_ap(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over positives of the precision among all images with at least that score."""
    return float(np.mean([labels[scores >= score].mean() for score in scores[labels == 1]]))


def devkit_curve(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision as VOC's `VOCevalcls.m` has them; truth is 1, -1 or, of difficult objects alone, 0."""
    order = np.argsort(-scores, kind="stable")
    tp, fp = np.cumsum(truth[order] > 0), np.cumsum(truth[order] < 0)
    with np.errstate(invalid="ignore"):  # before the first image that counts
        return tp / np.sum(truth > 0), np.nan_to_num(tp / (fp + tp))


def devkit_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """`VOCap.m` of VOC 2010 and later, line by line."""
    mrec = np.concatenate([[0.0], recall, [1.0]])
    mpre = np.concatenate([[0.0], precision, [0.0]])
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    i = np.flatnonzero(mrec[1:] != mrec[:-1]) + 1
    return float(np.sum((mrec[i] - mrec[i - 1]) * mpre[i]))


def devkit_ap_2007(recall: np.ndarray, precision: np.ndarray) -> float:
    """`VOCevalcls.m` up to VOC 2009, line by line; 1e-9 stands for the rounding of 0.1, 0.2, ..."""
    ap = 0.0
    for t in range(11):
        p = precision[recall >= t / 10 - 1e-9]
        ap += (p.max() if len(p) else 0.0) / 11
    return float(ap)
