"""From a decoded image to the network's input: resizing, random crops, flips and colours, each on record.

Everything random comes from a generator that the caller gives, so that the same numbers give the same input anywhere.
"""

from __future__ import annotations

__all__ = ["ColorJitter", "InputConfig", "draw_geometry", "enough_side", "prepare", "to_input"]

import math
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from attn.config.base import Config
from attn.data.geometry import Geometry
from attn.errors import DataError

Side = Annotated[int, Field(ge=1, le=8192)]
MOST_INPUT = 1 << 26
"""Pixels that an input may have: a narrow image would become a very long one."""
Triple = tuple[float, float, float]


class ColorJitter(Config):
    """Random colours in training: each factor is drawn from [1 - x, 1 + x], the hue's turn from [-x, x] of a circle.

    Attributes:
        brightness: x of the factor on the brightness.
        contrast: x of the factor on the contrast.
        saturation: x of the factor on the saturation.
        hue: x of the turn of the hue.
    """

    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)


class InputConfig(Config):
    """What the network sees of an image.

    Attributes:
        size: Side, or (height, width), of the input; of the short side with `resize: short_side`.
        resize: `squash` brings the whole image to `size`, whatever its aspect. `short_side` keeps the aspect and crops
            nothing, so inputs differ in size. `crop` takes a random part in training (`crop_area`, `crop_aspect`)
            and the largest part in the middle elsewhere. `random_part` takes the same part in training, and elsewhere
            the whole image, as `squash` does, so that maps cover all of it. `scaled_crop` cuts `size` out of the image
            at a random scale of its own size (`crop_scale`) in training, and out of its middle at its own size
            elsewhere; what lies beyond the edges is filled with `mean` (DeepLab).
        crop_area: Range of the part's area, as a share of the image's. Above 1 the part reaches beyond the edges, which
            are filled with `mean`.
        crop_aspect: Range of the part's width : height, before it is squashed to `size`.
        crop_scale: Range of that scale.
        shift: By how many pixels of the input, at most, a squashed image is moved each way in training; the edge that
            comes free is filled with `mean`. The padding of a padded crop (He et al., CVPR 2016: 4 of 32 pixels).
        flip: Probability of mirroring an image left to right in training.
        mean, std: Of the RGB channels in [0, 1]; the defaults are ImageNet's.
    """

    size: Side | tuple[Side, Side] = 224
    resize: Literal["squash", "short_side", "crop", "random_part", "scaled_crop"] = "squash"
    crop_area: tuple[float, float] = (0.25, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    crop_scale: tuple[float, float] = (0.7, 1.3)
    shift: int = Field(default=0, ge=0, le=8192)
    flip: float = Field(default=0.5, ge=0, le=1)
    color_jitter: ColorJitter = ColorJitter()
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _check(self) -> Self:
        ranges = {"crop_area": self.crop_area, "crop_aspect": self.crop_aspect, "crop_scale": self.crop_scale}
        for name, (low, high) in ranges.items():
            if not 0 < low <= high:
                raise ValueError(f"{name}={[low, high]} must be [least, greatest], both above 0")
        if self.resize == "short_side" and not isinstance(self.size, int):
            raise ValueError(f"resize=short_side needs one number as size, not {list(self.size)}; or use resize=squash")
        if self.shift and self.resize != "squash":
            raise ValueError(f"shift={self.shift} moves squashed images: use resize=squash, not {self.resize}")
        if not all(0 <= value <= 1 for value in self.mean) or not all(value > 0 for value in self.std):
            raise ValueError("mean must lie in [0, 1] and std above 0: they are of channels scaled to [0, 1]")
        return self


def enough_side(config: InputConfig) -> int | None:
    """Pixels of an image's short side with which an input is as good as with more; None where each pixel counts.

    Twice the input's: what is reduced by whole steps is smoothed once more on its way to it.
    """
    if config.resize == "scaled_crop":
        return None
    return 2 * (config.size if isinstance(config.size, int) else max(config.size))


def draw_geometry(config: InputConfig, image_size: tuple[int, int], rng: np.random.Generator | None) -> Geometry:
    """Which part of an image becomes the input; without a generator, as in evaluation: nothing random."""
    height, width = image_size
    flip = rng is not None and bool(rng.random() < config.flip)
    if config.resize == "short_side":
        assert isinstance(config.size, int)
        scale = config.size / min(height, width)
        whole = round(height * scale), round(width * scale)
        if whole[0] * whole[1] > MOST_INPUT:
            raise DataError(
                f"an image of {width}x{height} pixels becomes an input of {whole[1]}x{whole[0]} by "
                "input.resize=short_side: leave it out, or use input.resize=squash"
            )
        return Geometry.whole(image_size, whole, flip=flip)
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    if config.resize == "squash" or (config.resize == "random_part" and rng is None):
        moves = (0, 0) if rng is None or not config.shift else rng.integers(-config.shift, config.shift + 1, 2).tolist()
        top, left = (round(move * side / own) for move, side, own in zip(moves, image_size, size, strict=True))
        return Geometry(image_size, (top, left, height, width), size, flip)
    if config.resize == "scaled_crop":
        scale = 1.0 if rng is None else float(rng.uniform(*config.crop_scale))
        return Geometry(image_size, _crop_at(image_size, size, scale, rng), size, flip)
    if rng is None:
        scale = min(height / size[0], width / size[1])
        crop_h, crop_w = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        return Geometry(image_size, ((height - crop_h) // 2, (width - crop_w) // 2, crop_h, crop_w), size)
    return Geometry(image_size, _random_crop(config, height, width, rng), size, flip)


def to_input(
    config: InputConfig, image_HW3: np.ndarray, geometry: Geometry, rng: np.random.Generator | None = None
) -> Tensor:
    """The network's input for one image.

    Args:
        image_HW3: uint8 RGB.
        rng: Draws the colours; without it they stay as they are.

    Returns:
        float32 (3, H, W), normalised.
    """
    image_3HW = torch.from_numpy(np.require(image_HW3, requirements=["C", "W"])).permute(2, 0, 1)
    fill = [round(255 * value) for value in config.mean]
    input_3HW = geometry.apply(image_3HW, fill=fill)
    if rng is not None:
        input_3HW = _jitter(input_3HW, config.color_jitter, rng)
    mean, std = torch.tensor(config.mean)[:, None, None], torch.tensor(config.std)[:, None, None]
    return (input_3HW.float().contiguous() - 255 * mean) / (255 * std)


def prepare(config: InputConfig, image_HW3: np.ndarray) -> tuple[Tensor, Geometry]:
    """An image as evaluation and prediction see it: uint8 RGB in, (3, H, W) input and its geometry out."""
    geometry = draw_geometry(config, (image_HW3.shape[0], image_HW3.shape[1]), None)
    return to_input(config, image_HW3, geometry), geometry


def _random_crop(config: InputConfig, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    area = rng.uniform(config.crop_area[0], config.crop_area[1]) * height * width
    aspect = math.exp(rng.uniform(math.log(config.crop_aspect[0]), math.log(config.crop_aspect[1])))
    reach = max(1.0, math.sqrt(config.crop_area[1]))
    crop_h = min(max(1, round(math.sqrt(area / aspect))), int(height * reach))
    crop_w = min(max(1, round(math.sqrt(area * aspect))), int(width * reach))
    top, left = _place(height - crop_h, rng), _place(width - crop_w, rng)
    return top, left, crop_h, crop_w


def _crop_at(
    image: tuple[int, int], size: tuple[int, int], scale: float, rng: np.random.Generator | None
) -> tuple[int, int, int, int]:
    """The part of an image that is `size` at a scale: anywhere, or in the middle without a generator."""
    crop_h, crop_w = (max(1, round(side / scale)) for side in size)
    rooms = (image[0] - crop_h, image[1] - crop_w)
    top, left = (room // 2 if rng is None else _place(room, rng) for room in rooms)
    return top, left, crop_h, crop_w


def _place(room: int, rng: np.random.Generator) -> int:
    """Where a part begins, inside the image or, where it is larger than that, around it."""
    return int(rng.integers(min(0, room), max(0, room), endpoint=True))


def _jitter(image_3HW: Tensor, jitter: ColorJitter, rng: np.random.Generator) -> Tensor:
    if jitter == ColorJitter():
        return image_3HW
    from torchvision.transforms.v2 import functional as TF  # seconds to import

    steps = [
        (TF.adjust_brightness, jitter.brightness, 1.0),
        (TF.adjust_contrast, jitter.contrast, 1.0),
        (TF.adjust_saturation, jitter.saturation, 1.0),
        (TF.adjust_hue, jitter.hue, 0.0),
    ]
    for number in rng.permutation(len(steps)):
        adjust, strength, middle = steps[number]
        if strength:
            image_3HW = adjust(image_3HW, middle + float(rng.uniform(-strength, strength)))
    return image_3HW
