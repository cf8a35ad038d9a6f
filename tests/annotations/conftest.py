"""Masks with holes, parts that touch at a corner, single pixels, open pixels, and a whole class at the image's edge."""

from __future__ import annotations

import numpy as np
import pytest

from attn.annotations import MaskedImage
from tests.annotations.drawing import SIZE, masked


@pytest.fixture
def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    first = np.zeros(SIZE, np.uint8)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    first[np.hypot(ys - 20, xs - 24) < 17] = 1
    first[np.hypot(ys - 20, xs - 22) < 7] = 0  # a hole
    first[np.hypot(ys - 20, xs - 22) < 3] = 2  # with another class in it
    first[40:48, 50:64] = 2  # at the edge
    first[2, 60] = 1
    first[30:34, 44:48], first[34:38, 48:52] = 1, 1  # touch at a corner
    first[:2, :10] = 255
    noise = rng.choice([0, 1, 2, 255], SIZE, p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
    return [first, noise, np.zeros(SIZE, np.uint8), np.full(SIZE, 2, np.uint8)]


@pytest.fixture
def images(masks: list[np.ndarray]) -> list[MaskedImage]:
    return [masked(f"image {number}", mask, {0: 0.875}) for number, mask in enumerate(masks)]
