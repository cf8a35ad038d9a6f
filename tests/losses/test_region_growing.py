"""Growing seeds against a slow flood fill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.losses import grow_seeds


def _flood(cues: np.ndarray, probs: np.ndarray, labels: np.ndarray, foreground: float, background: float) -> np.ndarray:
    """From each cue step by step to every neighbour that is confident of the cue's class and no cue itself."""
    height, width = cues.shape
    allowed = [0, *(channel + 1 for channel, present in enumerate(labels) if present)]
    grown = cues.copy()
    frontier = [(row, col) for row, col in np.ndindex(cues.shape) if cues[row, col] != 255]
    while frontier:
        row, col = frontier.pop()
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(col - 1, 0), min(col + 2, width)):
                best = max(allowed, key=lambda c: (probs[c, y, x], -c))
                threshold = background if best == 0 else foreground
                if grown[y, x] == 255 and best == grown[row, col] and probs[best, y, x] > threshold:
                    grown[y, x] = best
                    frontier.append((y, x))
    return grown


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 9), width=st.integers(1, 9), share=st.floats(0.02, 0.6))
def test_equal_to_flood_fill(seed: int, height: int, width: int, share: float) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, size=3)
    cues = random.choice([255, 0, 1, 2, 3], p=[1 - share, *[share / 4] * 4], size=(height, width))
    probs = random.dirichlet([0.15] * 4, size=(height, width)).transpose(2, 0, 1)
    grown = grow_seeds(cues, probs, labels, foreground=0.6, background=0.8)
    np.testing.assert_array_equal(grown, _flood(cues, probs, labels, 0.6, 0.8))
    assert grown.dtype == np.uint8


def test_absent_classes_do_not_take_pixels() -> None:
    cues = np.array([[1, 255, 255]])
    probs = np.array([[[0.0, 0.0, 0.0]], [[0.0, 0.9, 0.0]], [[1.0, 0.1, 1.0]]])
    np.testing.assert_array_equal(grow_seeds(cues, probs, np.array([1, 0])), [[1, 1, 255]])


def test_thresholds_and_corners() -> None:
    cues = np.full((3, 3), 255)
    cues[0, 0], cues[2, 0] = 1, 0
    probs = np.zeros((2, 3, 3))
    probs[1, 1, 1] = probs[1, 2, 2] = 0.86
    probs[0, 2, 1], probs[0, 1, 0] = 0.98, 0.995
    expected = [[1, 255, 255], [0, 1, 255], [0, 255, 1]]
    np.testing.assert_array_equal(grow_seeds(cues, probs, np.array([1])), expected)
    np.testing.assert_array_equal(grow_seeds(cues, probs, np.array([1, 1])), expected)


@pytest.mark.parametrize(
    ("cues", "probs", "labels", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((3, 2, 3)), [1, 1], "do not fit"),
        (np.zeros((2, 2), int), np.zeros((3, 2, 2)), [1], "without the background"),
        (np.zeros((2, 2), int), np.zeros((3, 2, 2)), [1, 2], "0 or 1"),
        (np.zeros((2, 2)), np.zeros((3, 2, 2)), [1, 1], "integers"),
        (np.full((2, 2), 3), np.zeros((3, 2, 2)), [1, 1], "not \\[3\\]"),
        (np.zeros((2, 2), int), np.full((3, 2, 2), np.nan), [1, 1], "in \\[0, 1\\]"),
    ],
)
def test_what_does_not_fit_is_refused(cues: np.ndarray, probs: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grow_seeds(cues, probs, np.array(labels))
