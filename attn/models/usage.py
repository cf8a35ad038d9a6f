"""Describes how a program without this library uses a trained classifier: preprocessing, and meaning of the outputs."""

from __future__ import annotations

__all__ = ["PROBABILITY", "classifier_usage"]

from collections.abc import Sequence
from typing import Any

from attn.data.preprocessing import describe_preprocessing
from attn.data.transforms import InputConfig

PROBABILITY = 0.5
"""A class of higher probability counts as predicted, if images may have several classes."""


def classifier_usage(classes: Sequence[str], input: InputConfig, *, exclusive: bool) -> dict[str, Any]:
    """`preprocessing` and `output` of a classifier, as JSON values."""
    return {
        "preprocessing": describe_preprocessing(input),
        "output": {
            "logits": {"axes": ["batch", "class"], "classes": list(classes)},
            "probabilities": "softmax of the logits" if exclusive else "sigmoid of each logit",
            "predicted": "the most probable class" if exclusive else f"every class above {PROBABILITY:g}",
        },
    }
