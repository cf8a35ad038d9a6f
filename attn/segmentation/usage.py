"""Description of a trained segmentation network for programs without this library."""

from __future__ import annotations

__all__ = ["segmenter_usage"]

from collections.abc import Sequence
from typing import Any

from attn.data.preprocessing import describe_whole
from attn.data.transforms import InputConfig
from attn.segmentation.predict import SegmentInferenceConfig


def segmenter_usage(
    classes: Sequence[str], input: InputConfig, inference: SegmentInferenceConfig, stride: int
) -> dict[str, Any]:
    """`preprocessing` and `output` of a segmentation network, as plain values."""
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
