"""Labels brought to a network's positions and scores brought back, against the places written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attn.data.geometry import Geometry
from attn.segmentation.grid import aligned, labels_on_grid, upsample_scores


@pytest.mark.parametrize(
    ("size", "grid", "expected"),
    [
        ((321, 321), (41, 41), True),
        ((33, 65), (5, 9), True),
        ((320, 320), (40, 40), False),
        ((33, 64), (5, 8), False),
        ((65, 65), (8, 8), False),
        ((9, 17), (3, 3), False),
        ((1, 1), (1, 1), False),
        ((7, 9), (7, 9), True),
    ],
)
def test_aligned(size: tuple[int, int], grid: tuple[int, int], expected: bool) -> None:
    assert aligned(size, grid) == expected


def _slow(labels: np.ndarray, geometry: Geometry, grid: tuple[int, int]) -> np.ndarray:
    result = np.full(grid, 255)
    (height, width), (top, left, crop_h, crop_w) = geometry.image_size, geometry.crop
    for row, column in np.ndindex(grid):
        places = []
        for location, count, pixels in ((row, grid[0], geometry.size[0]), (column, grid[1], geometry.size[1])):
            step = (pixels - 1) / (count - 1)
            on_corner = step == int(step) and geometry.size[0] % 8 == 1
            places.append(location * step + 0.5 if on_corner else (location + 0.5) * pixels / count)
        y, x = places[0] / geometry.size[0], places[1] / geometry.size[1]
        x = 1 - x if geometry.flip else x
        y, x = top + y * crop_h, left + x * crop_w
        if 0 <= y < height and 0 <= x < width:
            result[row, column] = labels[int(y / height * labels.shape[0]), int(x / width * labels.shape[1])]
    return result


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [(0, 0, 50, 75), (10, 20, 30, 25), (-13, 41, 70, 70)])
@pytest.mark.parametrize(("size", "grid"), [((33, 65), (5, 9)), ((32, 48), (8, 12)), ((41, 41), (41, 41))])
@pytest.mark.parametrize("cells", [(50, 75), (7, 9)])
def test_labels(
    size: tuple[int, int], grid: tuple[int, int], crop: tuple[int, int, int, int], flip: bool, cells: tuple[int, int]
) -> None:
    labels = np.random.default_rng(0).integers(0, 21, cells).astype(np.uint8)
    geometry = Geometry((50, 75), crop, size, flip)
    np.testing.assert_array_equal(labels_on_grid(labels, geometry, grid).numpy(), _slow(labels, geometry, grid))


@pytest.mark.parametrize("image", [(333, 500), (500, 281), (90, 60)])
def test_secs_cues_arrive_as_they_are(image: tuple[int, int]) -> None:
    cues = np.random.default_rng(1).integers(0, 21, (41, 41)).astype(np.uint8)
    for flip in (False, True):
        result = labels_on_grid(cues, Geometry.whole(image, (321, 321), flip=flip), (41, 41))
        np.testing.assert_array_equal(result.numpy(), cues[:, ::-1] if flip else cues)


def test_masks_arrive_at_every_pixel() -> None:
    mask = np.random.default_rng(2).integers(0, 21, (20, 30)).astype(np.uint8)
    np.testing.assert_array_equal(labels_on_grid(mask, Geometry.whole((20, 30)), (20, 30)).numpy(), mask)


def test_scores_come_back_to_where_labels_are_taken() -> None:
    ramp = torch.arange(33.0).expand(33, 33)
    assert torch.allclose(upsample_scores(ramp[None, None, ::8, ::8], (33, 33), (33, 33))[0, 0], ramp)
    cells = torch.arange(8.0).expand(1, 1, 8, 8) * 4 + 1.5  # the centres of four pixels each
    inner = upsample_scores(cells, (32, 32), (32, 32))[0, 0, :, 2:-2]
    assert torch.allclose(inner, torch.arange(2.0, 30.0).expand(32, 28))
