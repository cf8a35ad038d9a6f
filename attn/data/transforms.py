"""Transforms a decoded image into the network's input: resizing, random crops, flips and colours.

All randomness comes from the caller's generator, so that equal seeds give equal inputs everywhere.
"""

from __future__ import annotations

__all__ = [
    "ColorJitter",
    "InputConfig",
    "at_scale",
    "draw_geometry",
    "prepare",
    "scaled_size",
    "sufficient_side",
    "ten_crops",
    "to_input",
]

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from attn.config.base import Config
from attn.data.geometry import Geometry
from attn.errors import DataError

Side = Annotated[int, Field(ge=1, le=8192)]
TEN_CROP_SIDE = 7 / 8
"""Side of each of ten crops, as a share of the largest crop."""
MAX_INPUT_PIXELS = 1 << 26
"""Maximum pixels of an input; with `short_side` a narrow image becomes a very long input."""
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
    """The network's input, made of an image.

    Attributes:
        size: Side, or (height, width), of the input; with `resize: short_side`, its short side.
        resize: `squash` resizes the whole image to `size`, ignoring its aspect ratio. `short_side` keeps the aspect
            ratio without cropping, so inputs differ in size. `crop` takes a random part in training (`crop_area`,
            `crop_aspect`), and the largest central part in evaluation. `random_part` takes the same random part in
            training, and the whole image in evaluation, like `squash`, so that maps cover all of it. `scaled_crop`
            scales the image by a random factor (`crop_scale`) and crops `size` at a random position in training; in
            evaluation it crops the centre without scaling. Pixels outside of the image get `mean` (DeepLab).
        crop_area: Range of the part's area as a fraction of the image's. If above 1, the part extends beyond the image;
            pixels outside get `mean`.
        crop_aspect: Range of the part's width : height, before it is squashed to `size`.
        crop_scale: Range of the random factor of `scaled_crop`.
        shift: Maximum random translation of a squashed image in training, in pixels of the input; the uncovered border
            gets `mean`. Equals the padding of a padded random crop (He et al., CVPR 2016: 4 of 32 pixels).
        longest_side: In training, images are first reduced to this longest side and enlarged again. So data sets of
            different resolutions are equally sharp, and a discriminator cannot tell them by that (AttnBN). None: images
            keep their detail.
        flip: Probability of mirroring an image left to right in training.
        interpolation: How images are resized, with antialiasing. Unless given, the rule of `model.name`'s own weights:
            networks of timm have one; bilinear for all others.
        mean, std: Mean and standard deviation of the RGB channels in [0, 1]. Unless given, those of `model.name`'s own
            weights: networks of timm have their own; ImageNet's for all others.
    """

    size: Side | tuple[Side, Side] = 224
    resize: Literal["squash", "short_side", "crop", "random_part", "scaled_crop"] = "squash"
    crop_area: tuple[float, float] = (0.25, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    crop_scale: tuple[float, float] = (0.7, 1.3)
    shift: int = Field(default=0, ge=0, le=8192)
    longest_side: Annotated[int, Field(ge=8, le=8192)] | None = None
    flip: float = Field(default=0.5, ge=0, le=1)
    color_jitter: ColorJitter = ColorJitter()
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _check(self) -> Self:
        ranges = {"crop_area": self.crop_area, "crop_aspect": self.crop_aspect, "crop_scale": self.crop_scale}
        for name, (low, high) in ranges.items():
            if not 0 < low <= high:
                raise ValueError(f"{name}={[low, high]} must be [minimum, maximum], both above 0")
        if self.resize == "short_side" and not isinstance(self.size, int):
            raise ValueError(f"resize=short_side needs one number as size, not {list(self.size)}; or use resize=squash")
        if self.shift and self.resize != "squash":
            raise ValueError(f"shift={self.shift} works only with resize=squash, not {self.resize}")
        if not all(0 <= value <= 1 for value in self.mean) or not all(value > 0 for value in self.std):
            raise ValueError("mean must be in [0, 1] and std above 0: they are for channels scaled to [0, 1]")
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        part = () if self.resize in ("crop", "random_part") else ("crop_area", "crop_aspect")
        return {"resize": (*part, *(() if self.resize == "scaled_crop" else ("crop_scale",)))}


def sufficient_side(config: InputConfig) -> int | None:
    """The short side, in pixels, to which an image can be reduced without changing the input noticeably; None: do not
    reduce.

    It is twice the input's side, because a reduced image is smoothed again when it is resized.
    """
    if config.resize == "scaled_crop":
        return None
    return 2 * (config.size if isinstance(config.size, int) else max(config.size))


def draw_geometry(config: InputConfig, image_size: tuple[int, int], rng: np.random.Generator | None) -> Geometry:
    """The part of an image that becomes the input, drawn at random; without a generator as in evaluation."""
    height, width = image_size
    flip = rng is not None and bool(rng.random() < config.flip)
    if config.resize == "short_side":
        assert isinstance(config.size, int)
        scale = config.size / min(height, width)
        whole = round(height * scale), round(width * scale)
        if whole[0] * whole[1] > MAX_INPUT_PIXELS:
            raise DataError(
                f"an image of {width}x{height} pixels becomes an input of {whole[1]}x{whole[0]} with "
                "input.resize=short_side: remove the image, or use input.resize=squash"
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


def ten_crops(config: InputConfig, image_size: tuple[int, int]) -> tuple[Geometry, ...]:
    """Ten parts of an image: corners and centre, then the same mirrored (Krizhevsky et al., NIPS 2012, section 4.1).

    A part has the shape of the input, and seven eighths of the side of the largest such part of the image, as a crop of
    224 pixels from an image whose short side is 256.
    """
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    scale = min(whole / side for whole, side in zip(image_size, size, strict=True)) * TEN_CROP_SIDE
    height, width = (max(1, round(side * scale)) for side in size)
    bottom, right = image_size[0] - height, image_size[1] - width
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return tuple(
        Geometry(image_size, (top, left, height, width), size, mirrored)
        for mirrored in (False, True)
        for top, left in corners
    )


def scaled_size(size: tuple[int, int], scale: float, stride: int) -> tuple[int, int]:
    """Height and width of an input at another scale, rounded to whole strides.

    What a side leaves beyond whole strides stays, so that a network whose inputs are 32k + 1 gets such inputs at every
    scale, and a transformer gets whole patches.

    Args:
        size: Height and width at scale 1.
        stride: Input pixels per position of the network's maps.
    """
    if scale == 1:
        return size
    sides = [max(round((side * scale - side % stride) / stride) * stride + side % stride, 1) for side in size]
    return sides[0], sides[1]


def at_scale(geometry: Geometry, scale: float, stride: int) -> Geometry:
    """The same part of the image as an input of another scale; see `scaled_size`.

    Raises:
        DataError: The input would be too large.
    """
    size = scaled_size(geometry.size, scale, stride)
    if size[0] * size[1] > MAX_INPUT_PIXELS:
        raise DataError(
            f"scale {scale:g} makes an input of {size[1]}x{size[0]} pixels, of which there may be {MAX_INPUT_PIXELS}: "
            "give smaller scales, or a smaller input.size"
        )
    return replace(geometry, size=size)


def to_input(
    config: InputConfig, image_HW3: np.ndarray, geometry: Geometry, rng: np.random.Generator | None = None
) -> Tensor:
    """The network's input for one image.

    Args:
        image_HW3: uint8 RGB.
        rng: For random colours, in training; None: change neither colours nor detail.

    Returns:
        float32 (3, H, W), normalised.
    """
    image_3HW = torch.from_numpy(np.require(image_HW3, requirements=["C", "W"])).permute(2, 0, 1)
    if rng is not None and config.longest_side is not None:
        image_3HW = _with_detail(image_3HW, config.longest_side)
    fill = [round(255 * value) for value in config.mean]
    input_3HW = geometry.apply(image_3HW, config.interpolation, fill=fill)
    if rng is not None:
        input_3HW = _jitter(input_3HW, config.color_jitter, rng)
    mean, std = torch.tensor(config.mean)[:, None, None], torch.tensor(config.std)[:, None, None]
    return (input_3HW.float().contiguous() - 255 * mean) / (255 * std)


def _with_detail(image_3HW: Tensor, longest: int) -> Tensor:
    """The image with the detail that it has at a longest side, at its own size."""
    height, width = image_3HW.shape[1:]
    scale = longest / max(height, width)
    if scale >= 1:
        return image_3HW
    small = Geometry.whole((height, width), (max(1, round(height * scale)), max(1, round(width * scale))))
    return Geometry.whole(small.size, (height, width)).apply(small.apply(image_3HW))


def prepare(config: InputConfig, image_HW3: np.ndarray) -> tuple[Tensor, Geometry]:
    """The input (3, H, W) of evaluation and prediction for a uint8 RGB image, and its geometry."""
    geometry = draw_geometry(config, (image_HW3.shape[0], image_HW3.shape[1]), None)
    return to_input(config, image_HW3, geometry), geometry


def _random_crop(config: InputConfig, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    area = rng.uniform(config.crop_area[0], config.crop_area[1]) * height * width
    aspect = math.exp(rng.uniform(math.log(config.crop_aspect[0]), math.log(config.crop_aspect[1])))
    reach = max(1.0, math.sqrt(config.crop_area[1]))
    crop_h = min(max(1, round(math.sqrt(area / aspect))), int(height * reach))
    crop_w = min(max(1, round(math.sqrt(area * aspect))), int(width * reach))
    top, left = _random_offset(height - crop_h, rng), _random_offset(width - crop_w, rng)
    return top, left, crop_h, crop_w


def _crop_at(
    image: tuple[int, int], size: tuple[int, int], scale: float, rng: np.random.Generator | None
) -> tuple[int, int, int, int]:
    """A crop of `size` from the scaled image, in image pixels: at a random position, or central without a generator."""
    crop_h, crop_w = (max(1, round(side / scale)) for side in size)
    slacks = (image[0] - crop_h, image[1] - crop_w)
    top, left = (slack // 2 if rng is None else _random_offset(slack, rng) for slack in slacks)
    return top, left, crop_h, crop_w


def _random_offset(slack: int, rng: np.random.Generator) -> int:
    """Random start of a part inside the image; if the part is larger, such that it contains the image."""
    return int(rng.integers(min(0, slack), max(0, slack), endpoint=True))


def _jitter(image_3HW: Tensor, jitter: ColorJitter, rng: np.random.Generator) -> Tensor:
    if jitter == ColorJitter():
        return image_3HW
    from torchvision.transforms.v2 import functional as TF  # slow to import

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
