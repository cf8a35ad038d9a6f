"""Scores with their protocols: classification, seed quality and extent of attention maps, segmentation."""

from __future__ import annotations

__all__ = [
    "OAA_CRF",
    "SEC_CRF",
    "Comparison",
    "CrfConfig",
    "ScoringConfig",
    "Protocol",
    "Score",
    "ThresholdRule",
    "average_precision",
    "compare",
    "confusion_matrix",
    "dense_crf",
    "mean_iou",
    "roc_auc",
    "threshold_accuracy",
]

from attn.evaluation.classification import average_precision, roc_auc, threshold_accuracy
from attn.evaluation.config import ScoringConfig
from attn.evaluation.confusion import confusion_matrix, mean_iou
from attn.evaluation.score import Comparison, Protocol, Score, ThresholdRule, compare
from attn.maps.dense_crf import OAA_CRF, SEC_CRF, CrfConfig, dense_crf
