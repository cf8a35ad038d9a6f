"""Describes how an image becomes a network's input in evaluation, as plain values and text, for other programs."""

from __future__ import annotations

__all__ = ["describe_preprocessing", "describe_whole", "preprocessing_text"]

from collections.abc import Mapping
from typing import Any

from attn.data.transforms import InputConfig


def describe_preprocessing(config: InputConfig) -> dict[str, Any]:
    """The steps of `attn.data.transforms.prepare`, without the random steps of training.

    Returns:
        `image`: the expected image. `crop`: which part of it is used; None: all. `resize`: None: the part keeps its
            size.
        Then `divide_by`, `mean`, `std`: input = (value / divide_by - mean) / std. Sizes are (height, width) in pixels.
    """
    size = [config.size, config.size] if isinstance(config.size, int) else list(config.size)
    crop: dict[str, Any] | None = None
    resize: dict[str, Any] | None = {"rule": "to_size", "size": size}
    if config.resize == "short_side":
        resize = {"rule": "short_side", "size": size[0], "sides": "round(side * size / shorter side), halves to even"}
    elif config.resize == "crop":
        crop = {
            "rule": "largest_of_aspect",
            "aspect": size,
            "sides": "max(1, round(aspect * min over both sides of (image / aspect))), halves to even",
            "corner": "floor((image - part) / 2)",
        }
    elif config.resize == "scaled_crop":
        crop = {
            "rule": "size",
            "size": size,
            "corner": "floor((image - part) / 2), negative where the part is larger",
            "fill": [round(255 * value) for value in config.mean],
        }
        resize = None
    return _described(config, crop, resize)


def describe_whole(config: InputConfig, resize: Mapping[str, Any]) -> dict[str, Any]:
    """Like `describe_preprocessing`, for a network that gets the whole image, resized by another rule."""
    return _described(config, None, resize)


def _described(config: InputConfig, crop: Mapping[str, Any] | None, resize: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "image": {"channels": "RGB", "values": "0 to 255", "orientation": "upright, by its EXIF tag"},
        "crop": crop,
        "resize": resize
        and {**resize, "interpolation": config.interpolation, "antialias": True, "rounded": "to 8 bits"},
        "divide_by": 255,
        "mean": list(config.mean),
        "std": list(config.std),
        "input": {"dtype": "float32", "axes": ["batch", "channel", "height", "width"]},
    }


def preprocessing_text(described: Mapping[str, Any]) -> str:
    """The description as one sentence."""
    crop, resize = described["crop"], described["resize"]
    part = "the whole image"
    if crop is not None and crop["rule"] == "size":
        part = f"the {_sides(crop['size'])} in the image's middle at its own size, filled with {crop['fill']} beyond it"
    elif crop is not None:
        part = f"the largest part of the aspect {_sides(crop['aspect'])} in the image's middle"
    how = ""
    if resize is not None:
        how = f", {_resized(resize)} ({resize['interpolation']}, antialiased, rounded to 8 bits)"
    mean, std = described["mean"], described["std"]
    return f"{part}{how}; RGB / {described['divide_by']}, minus {mean}, divided by {std}"


def _resized(resize: Mapping[str, Any]) -> str:
    if resize["rule"] == "to_size":
        return f"squashed to {_sides(resize['size'])} (height x width)"
    if resize["rule"] == "short_side":
        return f"its shorter side resized to {resize['size']}, its aspect kept"
    own = "at its own size" if resize["size"] is None else f"its longer side resized to {resize['size']}"
    rest = "+".join(map(str, dict.fromkeys(resize["rest"])))
    return f"{own}, its aspect kept, sides rounded to multiples of {resize['stride']} plus {rest}"


def _sides(size: list[int]) -> str:
    return "x".join(map(str, size))
