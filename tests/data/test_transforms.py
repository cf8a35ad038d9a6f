"""Transforms from an image to the network's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision.transforms.v2.functional import ten_crop

from attn.data.geometry import Geometry
from attn.data.transforms import ColorJitter, InputConfig, draw_geometry, prepare, ten_crops, to_input


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("config", "image", "size", "crop"),
    [
        (InputConfig(size=64), (30, 50), (64, 64), (0, 0, 30, 50)),
        (InputConfig(size=(48, 96)), (30, 50), (48, 96), (0, 0, 30, 50)),
        (InputConfig(size=224, resize="short_side"), (375, 500), (224, 299), (0, 0, 375, 500)),
        (InputConfig(size=224, resize="short_side"), (500, 333), (336, 224), (0, 0, 500, 333)),
        (InputConfig(size=321, resize="crop"), (375, 500), (321, 321), (0, 62, 375, 375)),
        (InputConfig(size=(20, 40), resize="crop"), (40, 40), (20, 40), (10, 0, 20, 40)),
        (InputConfig(size=321, resize="random_part"), (375, 500), (321, 321), (0, 0, 375, 500)),
        (InputConfig(size=321, resize="scaled_crop"), (375, 500), (321, 321), (27, 89, 321, 321)),
        (InputConfig(size=321, resize="scaled_crop"), (281, 500), (321, 321), (-20, 89, 321, 321)),
    ],
)
def test_evaluation_geometry(
    config: InputConfig, image: tuple[int, int], size: tuple[int, int], crop: tuple[int, int, int, int]
) -> None:
    geometry = draw_geometry(config, image, None)
    assert (geometry.size, geometry.crop, geometry.flip) == (size, crop, False)
    tensor, again = prepare(config, photo(*image))
    assert tuple(tensor.shape) == (3, *size)
    assert tensor.dtype == torch.float32
    assert again == geometry


@settings(max_examples=100, deadline=None)
@given(st.integers(20, 400), st.integers(20, 400), st.floats(0.1, 1.0), st.floats(1.0, 2.0), st.integers(0, 10**6))
def test_random_crops_keep_to_their_range(height: int, width: int, low: float, more: float, seed: int) -> None:
    area = (low, low * more)
    config = InputConfig(size=32, resize="crop", crop_area=area)
    geometry = draw_geometry(config, (height, width), np.random.default_rng(seed))
    part = config.model_copy(update={"resize": "random_part"})
    assert draw_geometry(part, (height, width), np.random.default_rng(seed)) == geometry
    top, left, crop_h, crop_w = geometry.crop
    assert crop_h * crop_w <= area[1] * height * width * 1.1 + crop_h + crop_w
    if area[1] <= 1:
        assert top >= 0
        assert left >= 0
        assert top + crop_h <= height
        assert left + crop_w <= width
    else:  # beyond the edges, but the image and the crop always overlap as far as they can
        assert min(top, height - top - crop_h) <= max(0, height - crop_h)
        assert -max(0, crop_h - height) <= top <= max(0, height - crop_h)
        assert -max(0, crop_w - width) <= left <= max(0, width - crop_w)


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 400), st.integers(20, 400), st.integers(0, 10**6))
def test_scaled_crops_are_the_size_at_a_scale_of_the_image(height: int, width: int, seed: int) -> None:
    config = InputConfig(size=(160, 96), resize="scaled_crop", crop_scale=(0.5, 2.0))
    geometry = draw_geometry(config, (height, width), np.random.default_rng(seed))
    top, left, crop_h, crop_w = geometry.crop
    assert 0.49 <= 160 / crop_h <= 2.01
    assert 160 / crop_h == pytest.approx(96 / crop_w, rel=0.03)
    assert min(0, height - crop_h) <= top <= max(0, height - crop_h)
    assert min(0, width - crop_w) <= left <= max(0, width - crop_w)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([(32, 32), (64, 128)]), st.integers(0, 10**6))
def test_a_shifted_image_is_a_padded_crop(image: tuple[int, int], seed: int) -> None:
    """Like He et al.'s random crop for CIFAR: pad by 4 on each side, then crop 32 x 32 pixels anywhere."""
    config = InputConfig(size=32, shift=4, flip=0)
    geometry = draw_geometry(config, image, np.random.default_rng(seed))
    top, left, *part = geometry.crop
    assert (part, geometry.size) == ([*image], (32, 32))
    assert max(abs(top) * 32 / image[0], abs(left) * 32 / image[1]) <= 4
    if image == (32, 32):
        pixels = photo(32, 32)
        fill = np.array([round(255 * value) for value in config.mean], np.uint8)
        padded = np.broadcast_to(fill, (40, 40, 3)).copy()
        padded[4:36, 4:36] = pixels
        expected = prepare(InputConfig(size=32), padded[4 + top : 36 + top, 4 + left : 36 + left])[0]
        torch.testing.assert_close(to_input(config, pixels, geometry), expected)
    assert draw_geometry(config, image, None).is_whole
    with pytest.raises(ValidationError, match="only with resize=squash, not crop"):
        InputConfig(shift=4, resize="crop")


def test_shifts_reach_every_place() -> None:
    rng, config = np.random.default_rng(0), InputConfig(size=32, shift=2)
    seen = {draw_geometry(config, (32, 32), rng).crop[:2] for _ in range(400)}
    assert seen == {(top, left) for top in range(-2, 3) for left in range(-2, 3)}


def test_normalisation_is_the_formula() -> None:
    config = InputConfig(size=(5, 7), mean=(0.5, 0.25, 0.1), std=(0.2, 0.5, 1.0))
    image = photo(5, 7)
    expected = (image / 255.0 - np.array(config.mean)) / np.array(config.std)
    got = prepare(config, image)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_pixels_outside_of_the_image_have_the_mean_colour() -> None:
    config = InputConfig(size=64, resize="crop", crop_area=(4.0, 4.0), crop_aspect=(1.0, 1.0))
    rng = np.random.default_rng(0)
    geometry = draw_geometry(config, (40, 40), rng)
    assert geometry.crop[2:] == (80, 80)
    tensor = to_input(config, np.full((40, 40, 3), 255, np.uint8), geometry)
    outside = geometry.apply(torch.ones(1, 40, 40))[0] == 0
    assert outside.any()
    assert tensor[:, outside].abs().max() < 0.02


def test_the_same_numbers_give_the_same_input() -> None:
    jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    config = InputConfig(size=32, resize="crop", color_jitter=jitter)
    image = photo(60, 80)

    def once(seed: int) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        return to_input(config, image, draw_geometry(config, (60, 80), rng), rng)

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


def test_colour_jitter_stays_in_its_range() -> None:
    config = InputConfig(
        size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), color_jitter=ColorJitter(brightness=0.3), flip=0.0
    )
    image = np.full((8, 8, 3), 100, np.uint8)
    values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(config, (8, 8), rng)
        values.append(float(to_input(config, image, geometry, rng).mean()) * 255)
    assert 69 <= min(values) < 75
    assert 125 < max(values) <= 130


def test_flip_probability() -> None:
    config = InputConfig(size=8, flip=0.25)
    flips = sum(draw_geometry(config, (8, 8), np.random.default_rng([0, seed])).flip for seed in range(2000))
    assert 400 < flips < 600


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": (10, 20), "resize": "short_side"}, "squash"),
        ({"crop_area": (0.5, 0.2)}, "crop_area"),
        ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
        ({"crop_scale": (1.3, 0.7)}, "crop_scale"),
        ({"std": (0.0, 1.0, 1.0)}, "std"),
        ({"size": 0}, "size"),
        ({"flip": 1.5}, "flip"),
    ],
)
def test_wrong_configs_are_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InputConfig(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("size", "image"), [(14, (16, 22)), ((14, 28), (18, 32))])
def test_ten_crops_are_those_of_torchvision(size: int | tuple[int, int], image: tuple[int, int]) -> None:
    """Of an image that is 8/7 of the input, so that nothing is resized."""
    pixels = torch.from_numpy(photo(*image)).permute(2, 0, 1)
    height, width = (size, size) if isinstance(size, int) else size
    parts = {part.apply(pixels).numpy().tobytes() for part in ten_crops(InputConfig(size=size), image)}
    assert parts == {part.numpy().tobytes() for part in ten_crop(pixels, [height, width])}
    assert len(parts) == 10


def test_ten_crops_of_any_size() -> None:
    """As crops of 224 pixels of an image whose short side was made 256."""
    parts = ten_crops(InputConfig(size=224), (375, 500))
    assert {part.size for part in parts} == {(224, 224)}
    assert {part.crop[2:] for part in parts} == {(328, 328)}
    assert [part.crop[:2] for part in parts[:5]] == [(0, 0), (0, 172), (47, 0), (47, 172), (23, 86)]
    assert [part.flip for part in parts] == [False] * 5 + [True] * 5


def test_images_of_two_resolutions_are_equally_sharp_in_training() -> None:
    """A photograph and its copy of half the size give nearly one input, and in evaluation two."""
    large = photo(96, 128)
    small = Geometry.whole((96, 128), (48, 64)).apply(torch.from_numpy(large).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    config = InputConfig(size=80, longest_side=64, flip=0)

    def distance(config: InputConfig, *, train: bool) -> float:
        rng = np.random.default_rng(0) if train else None
        first, second = (
            to_input(config, image, Geometry.whole((image.shape[0], image.shape[1]), (80, 80)), rng)
            for image in (large, small)
        )
        return float((first - second).abs().mean())

    assert distance(config, train=True) < 0.3 * distance(config, train=False)
    assert distance(config, train=False) == distance(InputConfig(size=80), train=True)
    assert distance(config.model_copy(update={"longest_side": 500}), train=True) == distance(config, train=False)
