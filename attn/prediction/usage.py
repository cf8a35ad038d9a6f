"""Describes how a program without this library uses a trained model: preprocessing, and meaning of the outputs."""

from __future__ import annotations

__all__ = ["usage", "usage_of"]

import json
from collections.abc import Mapping
from typing import Any

from attn.data.transforms import InputConfig
from attn.models.bundle import Bundle
from attn.models.usage import classifier_usage
from attn.segmentation.bundle import Segmenter
from attn.segmentation.predict import SegmentInferenceConfig
from attn.segmentation.usage import segmenter_usage


def usage(described: Mapping[str, Any]) -> dict[str, Any]:
    """`preprocessing` and `output` of a model, from its `model.json` of any version."""
    input = InputConfig.model_validate_json(json.dumps(described["input"]), strict=True)
    if described.get("task", "classification") == "classification":
        return classifier_usage(described["classes"], input, exclusive=bool(described.get("exclusive", False)))
    inference = SegmentInferenceConfig.model_validate_json(json.dumps(described["inference"]), strict=True)
    return segmenter_usage(described["classes"], input, inference, int(described["model"]["stride"]))


def usage_of(model: Bundle | Segmenter) -> dict[str, Any]:
    """As `usage`, for a loaded model."""
    if isinstance(model, Bundle):
        return classifier_usage(model.classes, model.input, exclusive=model.exclusive)
    return segmenter_usage(model.classes, model.input, model.inference, model.network.config.stride)
