"""Geometries: mapping to the input and back, compared with pixel-wise references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.data.geometry import Geometry

sides = st.integers(2, 24)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    image = (draw(sides), draw(sides))
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    top, left = draw(st.integers(-height, image[0])), draw(st.integers(-width, image[1]))
    return Geometry(image, (top, left, height, width), (draw(sides), draw(sides)), draw(st.booleans()))


def bilinear(values: np.ndarray, y: float, x: float) -> float:
    """Value between the centres of the cells, the outermost cells reaching to the edge; coordinates in cells."""
    rows, columns = values.shape
    y, x = min(max(y - 0.5, 0.0), rows - 1.0), min(max(x - 0.5, 0.0), columns - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = values[top, left] * (1 - (x - left)) + values[top, right] * (x - left)
    lower = values[bottom, left] * (1 - (x - left)) + values[bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def back(geometry: Geometry, values: np.ndarray, out: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Reference for to_image, pixel by pixel in double precision."""
    top, left, height, width = geometry.crop
    result, seen = np.zeros(out), np.zeros(out, bool)
    for row in range(out[0]):
        for column in range(out[1]):
            v = ((row + 0.5) / out[0] * geometry.image_size[0] - top) / height
            u = ((column + 0.5) / out[1] * geometry.image_size[1] - left) / width
            if 0 <= v < 1 and 0 <= u < 1:
                seen[row, column] = True
                u = 1 - u if geometry.flip else u
                result[row, column] = bilinear(values, v * values.shape[0], u * values.shape[1])
    return result, seen


@settings(max_examples=60, deadline=None)
@given(geometries(), st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99))
def test_to_image_is_the_reference(geometry: Geometry, grid: tuple[int, int], out: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).random((2, *grid))
    maps, seen = geometry.to_image(torch.from_numpy(values), out)
    for got, value in zip(maps.numpy(), values, strict=True):
        expected, expected_seen = back(geometry, value, out)
        np.testing.assert_allclose(got, expected, atol=1e-12)
        np.testing.assert_array_equal(seen.numpy(), expected_seen)


@pytest.mark.parametrize("strip", [1, 57, 1 << 22])
@pytest.mark.parametrize("crop", [(0, 0, 61, 83), (5, -9, 70, 60)])
def test_maps_of_large_images_are_the_same_in_strips(
    crop: tuple[int, int, int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = Geometry((61, 83), crop, (32, 32), flip=True)
    maps = torch.from_numpy(np.random.default_rng(0).random((2, 7, 9)).astype(np.float32))
    expected, seen = geometry.to_image(maps.clone().requires_grad_())  # with a gradient, all at once
    monkeypatch.setattr("attn.data.geometry.VALUES_AT_ONCE", strip)
    got, got_seen = geometry.to_image(maps)
    torch.testing.assert_close(got, expected, rtol=2e-7, atol=0)
    assert torch.equal(got_seen, seen)
    assert geometry.covers_image() == bool(seen.all())


def ahead(geometry: Geometry, values: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Reference for from_image, cell by cell in double precision."""
    top, left, height, width = geometry.crop
    result = np.zeros(out)
    for row in range(out[0]):
        for column in range(out[1]):
            across = out[1] - 1 - column if geometry.flip else column
            v = (top + (row + 0.5) * (height / out[0])) / geometry.image_size[0]
            u = (left + (across + 0.5) * (width / out[1])) / geometry.image_size[1]
            if 0 <= v < 1 and 0 <= u < 1:
                result[row, column] = bilinear(values, v * values.shape[0], u * values.shape[1])
    return result


@settings(max_examples=60, deadline=None)
@given(geometries(), st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99))
def test_from_image_is_the_reference(
    geometry: Geometry, grid: tuple[int, int], out: tuple[int, int], seed: int
) -> None:
    values = np.random.default_rng(seed).random((2, *grid))
    for got, value in zip(geometry.from_image(torch.from_numpy(values), out).numpy(), values, strict=True):
        np.testing.assert_allclose(got, ahead(geometry, value, out), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(geometries(), st.tuples(sides, sides), st.integers(0, 99))
def test_a_whole_images_map_round_trip_is_exact(geometry: Geometry, grid: tuple[int, int], seed: int) -> None:
    whole = Geometry.whole(geometry.image_size, geometry.size, flip=geometry.flip)
    maps = torch.from_numpy(np.random.default_rng(seed).random((2, *grid)).astype(np.float32))
    there = whole.from_image(maps, grid)
    assert torch.equal(there, maps.flip(-1) if whole.flip else maps)
    assert torch.equal(whole.to_image(there, grid)[0], maps)


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(0, 99))
def test_apply_nearest_takes_the_value_at_the_centre(geometry: Geometry, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (1, *geometry.image_size), dtype=np.uint8)
    got = geometry.apply(torch.from_numpy(image), "nearest", fill=7)[0].numpy()
    top, left, height, width = geometry.crop
    for row in range(geometry.size[0]):
        for column in range(geometry.size[1]):
            u = geometry.size[1] - 1 - column if geometry.flip else column
            values = {
                int(image[0, y, x]) if 0 <= y < geometry.image_size[0] and 0 <= x < geometry.image_size[1] else 7
                for y in _under(top, 2 * row + 1, height, geometry.size[0])
                for x in _under(left, 2 * u + 1, width, geometry.size[1])
            }
            assert got[row, column] in values


def _under(start: int, halves: int, side: int, size: int) -> list[int]:
    """The pixel under a centre; both neighbours where the centre lies on the line between them."""
    pixel, rest = divmod(halves * side, 2 * size)
    return [start + pixel] if rest else [start + pixel - 1, start + pixel]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [(0, 0, 60, 80), (10, 20, 30, 40), (-15, -10, 90, 100), (5, -20, 44, 61)])
@pytest.mark.parametrize("size", [(60, 80), (33, 33), (128, 96)])
def test_a_slope_comes_back_exactly(flip: bool, crop: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    """Interpolation keeps a plane, averaging all but keeps it: a shift of half a pixel would show."""
    rows, columns = torch.meshgrid(torch.arange(60.0) + 0.5, torch.arange(80.0) + 0.5, indexing="ij")
    geometry = Geometry((60, 80), crop, size, flip)
    slope = torch.stack([rows, columns])
    again, seen = geometry.to_image(geometry.apply(slope, fill=-1000.0))
    # Away from the edges of image and crop, where an edge cell's value reaches outwards.
    shrink = max(1.0, crop[2] / size[0], crop[3] / size[1])
    margin = 1 + math.ceil(2 * shrink)
    top, left = max(crop[0], 0) + margin, max(crop[1], 0) + margin
    bottom, right = min(crop[0] + crop[2], 60) - margin, min(crop[1] + crop[3], 80) - margin
    inner = (slice(None), slice(top, bottom), slice(left, right))
    assert seen[inner[1:]].all()
    torch.testing.assert_close(again[inner], slope[inner], atol=2e-3 if shrink == 1.0 else 0.1, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_a_spot_comes_back_to_its_place(flip: bool) -> None:
    image = torch.zeros(1, 90, 120)
    image[0, 25:31, 80:86] = 1.0
    geometry = Geometry((90, 120), (10, 40, 60, 70), (48, 48), flip)
    grid = torch.nn.functional.avg_pool2d(geometry.apply(image)[None], 4)[0]
    maps, _ = geometry.to_image(grid)
    location = np.unravel_index(int(maps[0].argmax()), (90, 120))
    assert abs(location[0] + 0.5 - 28) <= 3
    assert abs(location[1] + 0.5 - 83) <= 3


@pytest.mark.parametrize("image_size", [(28, 37), (375, 500), (333, 499), (97, 7)])
def test_a_whole_image_at_the_maps_own_grid_keeps_every_bit(image_size: tuple[int, int]) -> None:
    maps = torch.rand(2, 28, 37)
    for flip in (False, True):
        geometry = Geometry.whole(image_size, (224, 299), flip=flip)
        assert geometry.is_whole
        framed, seen = geometry.to_image(maps.flip(-1) if flip else maps, (28, 37))
        assert torch.equal(framed, maps)
        assert seen.all()
    assert not Geometry((375, 500), (0, 0, 375, 499), (224, 299)).is_whole


def test_pixels_outside_of_a_crop_are_zero_and_marked() -> None:
    maps, seen = Geometry((8, 8), (2, 3, 4, 4), (4, 4)).to_image(torch.ones(1, 2, 2))
    expected = torch.zeros(8, 8)
    expected[2:6, 3:7] = 1
    assert torch.equal(maps[0], expected)
    assert torch.equal(seen, expected.bool())


@settings(max_examples=50, deadline=None)
@given(geometries())
def test_boxes_follow_the_pixels(geometry: Geometry) -> None:
    height, width = geometry.image_size
    box = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
    left, top, right, bottom = geometry.boxes(box)[0].tolist()
    inside = geometry.apply(torch.ones(1, height, width), "nearest")[0]
    if right <= left or bottom <= top:
        assert not inside.any()
        return
    rows = (torch.arange(geometry.size[0]) + 0.5 > top - 1e-9) & (torch.arange(geometry.size[0]) + 0.5 < bottom + 1e-9)
    columns = (torch.arange(geometry.size[1]) + 0.5 > left - 1e-9) & (
        torch.arange(geometry.size[1]) + 0.5 < right + 1e-9
    )
    exact = not any(abs(edge % 1 - 0.5) < 1e-9 for edge in (left, top, right, bottom))
    if exact:
        assert torch.equal(inside.bool(), rows[:, None] & columns)


def test_gradients_pass() -> None:
    maps = torch.rand(1, 3, 4, dtype=torch.float64, requires_grad=True)
    geometry = Geometry((9, 11), (-1, 2, 7, 6), (8, 8), True)
    assert torch.autograd.gradcheck(lambda value: geometry.to_image(value, (5, 6))[0], (maps,))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Geometry((8, 8), (0, 0, 0, 4), (4, 4)), "empty"),
        (lambda: Geometry((8, 8), (0.5, 0, 4, 4), (4, 4)), "whole pixels"),  # pyright: ignore[reportArgumentType]
        (lambda: Geometry.whole((8, 8)).apply(torch.zeros(3, 8, 9)), r"\(C, 8, 8\)"),
        (lambda: Geometry.whole((8, 8)).to_image(torch.zeros(8, 8)), r"\(N, h, w\)"),
    ],
)
def test_wrong_arguments_are_named(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # pyright: ignore[reportCallIssue]
