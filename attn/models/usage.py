"""How a trained model is used by a program without this library: what it takes, and what its outputs mean."""

from __future__ import annotations

__all__ = ["PROBABILITY", "usage", "usage_of"]

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attn.data.preprocessing import describe_preprocessing, describe_whole
from attn.data.transforms import InputConfig

if TYPE_CHECKING:
    from attn.models.bundle import Bundle
    from attn.segmentation.bundle import Segmenter
    from attn.segmentation.predict import InferenceConfig

PROBABILITY = 0.5
"""Above which a class counts as predicted, where an image may have several."""


def usage(described: Mapping[str, Any]) -> dict[str, Any]:
    """`preprocessing` and `output` of a model by what its `model.json` says, whichever version wrote it."""
    input = InputConfig.model_validate_json(json.dumps(described["input"]), strict=True)
    if described.get("task", "classification") == "classification":
        return _of_classifier(described["classes"], input, exclusive=bool(described.get("exclusive", False)))
    from attn.segmentation.predict import InferenceConfig

    inference = InferenceConfig.model_validate_json(json.dumps(described["inference"]), strict=True)
    return _of_segmenter(described["classes"], input, inference, int(described["model"]["stride"]))


def usage_of(model: Bundle | Segmenter) -> dict[str, Any]:
    """As `usage`, of a model that is open."""
    from attn.models.bundle import Bundle

    if isinstance(model, Bundle):
        return _of_classifier(model.classes, model.input, exclusive=model.exclusive)
    return _of_segmenter(model.classes, model.input, model.inference, model.network.config.stride)


def _of_classifier(classes: Sequence[str], input: InputConfig, *, exclusive: bool) -> dict[str, Any]:
    return {
        "preprocessing": describe_preprocessing(input),
        "output": {
            "logits": {"axes": ["batch", "class"], "classes": list(classes)},
            "probabilities": "softmax of the logits" if exclusive else "sigmoid of each logit",
            "predicted": "the most probable class" if exclusive else f"every class above {PROBABILITY:g}",
        },
    }


def _of_segmenter(
    classes: Sequence[str], input: InputConfig, inference: InferenceConfig, stride: int
) -> dict[str, Any]:
    size = [input.size, input.size] if isinstance(input.size, int) else list(input.size)
    rest = [side % stride for side in size]
    resize: dict[str, Any] = {"rule": "to_size", "size": size}
    if inference.size != "input":
        resize = {
            "rule": "long_side",
            "size": None if inference.size == "image" else inference.size,
            "sides": "max(1, round((side * size / longer side - rest) / stride)) * stride + rest, halves to even; more "
            "where the network takes no input as small",
        }
    return {
        "preprocessing": describe_whole(input, resize | {"stride": stride, "rest": rest}),
        "output": {
            "logits": {"axes": ["batch", "channel", "height", "width"], "channels": ["background", *classes]},
            "resize": {
                "size": "the image's own",
                "interpolation": "bilinear",
                "antialias": False,
                "align_corners": "where (H - 1) / (h - 1) and (W - 1) / (w - 1) are one whole number, of an input of "
                "H x W and logits of h x w; else not",
            },
            "probabilities": "softmax over the channels of the resized logits",
            "scales": list(inference.scales),
            "mirrored": inference.flip,
            "average": "of the probabilities over scales, each a factor of the sides before they are rounded, and over "
            "the input and its mirror image where `mirrored` says so",
            "predicted": "the most probable channel of each pixel",
            "crf": None if inference.crf is None else inference.crf.model_dump(mode="json"),
        },
    }
