"""How a trained classifier is used by a program without this library: what it takes, and what its outputs mean."""

from __future__ import annotations

__all__ = ["PROBABILITY", "classifier_usage"]

from collections.abc import Sequence
from typing import Any

from attn.data.preprocessing import describe_preprocessing
from attn.data.transforms import InputConfig

PROBABILITY = 0.5
"""Above which a class counts as predicted, where an image may have several."""


def classifier_usage(classes: Sequence[str], input: InputConfig, *, exclusive: bool) -> dict[str, Any]:
    """`preprocessing` and `output` of a classifier, as plain values."""
    return {
        "preprocessing": describe_preprocessing(input),
        "output": {
            "logits": {"axes": ["batch", "class"], "classes": list(classes)},
            "probabilities": "softmax of the logits" if exclusive else "sigmoid of each logit",
            "predicted": "the most probable class" if exclusive else f"every class above {PROBABILITY:g}",
        },
    }
