"""A network that gives no pixel to any class is told of once, when it is more than a slow start."""

from __future__ import annotations

import numpy as np
import pytest

from attn.segmentation.only_background import BackgroundWatch, only_background
from attn.segmentation.validation import validate

ALL_BACKGROUND = np.array([[60, 0, 0], [30, 0, 0], [10, 0, 0]])
ONE_PIXEL = np.array([[60, 0, 0], [29, 1, 0], [10, 0, 0]])
WRONG_PIXEL = np.array([[59, 0, 1], [30, 0, 0], [10, 0, 0]])
NO_OBJECTS = np.array([[100, 0, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [(ALL_BACKGROUND, True), (ONE_PIXEL, False), (WRONG_PIXEL, False), (NO_OBJECTS, False), (0 * NO_OBJECTS, False)],
)
def test_only_background(matrix: np.ndarray, expected: bool) -> None:
    assert only_background(matrix) is expected


@pytest.mark.parametrize(
    ("matrices", "epochs", "told"),
    [
        ([ALL_BACKGROUND, ALL_BACKGROUND, ALL_BACKGROUND], 5, [2]),
        ([ALL_BACKGROUND, ONE_PIXEL, ALL_BACKGROUND, ONE_PIXEL], 5, []),
        ([ALL_BACKGROUND], 1, [1]),
        ([ONE_PIXEL, ONE_PIXEL, ALL_BACKGROUND], 3, [3]),
        ([NO_OBJECTS, NO_OBJECTS], 2, []),
        ([ONE_PIXEL, ALL_BACKGROUND, None], 3, [2]),
    ],
)
def test_it_is_told_once(matrices: list[np.ndarray | None], epochs: int, told: list[int]) -> None:
    watch, found = BackgroundWatch(), []
    for epoch, matrix in enumerate(matrices, start=1):
        if matrix is not None:
            watch.add(matrix)
        if (text := watch.notice(epoch, epochs, 0.01)) is not None:
            found.append(int(text.removeprefix("epoch ").partition(":")[0]))
            assert ": the network gives every pixel of every validation image" in text
            assert text.endswith("lower optimizer.lr=0.01")
    assert found == told


def test_scores_of_a_matrix() -> None:
    """By hand: background 60/100, both classes 0, so that mIoU is 0.2."""
    assert validate(ALL_BACKGROUND) == pytest.approx({"val/miou": 0.2, "val/accuracy": 0.6})
    assert validate(0 * NO_OBJECTS) == {}
