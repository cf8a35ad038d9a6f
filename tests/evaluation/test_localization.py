"""Sweeps against one plain segmentation per threshold, in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attn.evaluation import confusion_matrix, mean_iou
from attn.evaluation.localization import DirectSweep, SeedSweep, threshold_grid

CLASSES, SHAPE = 3, (3, 4)
GRID = threshold_grid(7)
# Values on, between and beside the grid's own points: ties are where a sweep goes wrong.
VALUES = st.one_of(st.sampled_from([*GRID.tolist(), 1.0]), st.floats(0, 1, allow_subnormal=False))
MAPS = st.dictionaries(st.integers(0, CLASSES - 1), hnp.arrays(np.float64, SHAPE, elements=VALUES))
TRUTH = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255]))
IMAGES = st.lists(st.tuples(MAPS, TRUTH), min_size=1, max_size=4)
SCORES = st.tuples(*[st.sampled_from([0.55, 0.6, 0.9])] * CLASSES).map(lambda values: dict(enumerate(values)))
SCORED_IMAGES = st.lists(st.tuples(MAPS, SCORES, TRUTH), min_size=1, max_size=4)

Maps = Mapping[int, np.ndarray]


def seed_segmentation(maps: Maps, threshold: float) -> np.ndarray:
    prediction = np.zeros(SHAPE, np.int64)
    for position in np.ndindex(SHAPE):
        best, label = threshold, 0
        for index in sorted(maps):
            if maps[index][position] > best:
                best, label = maps[index][position], index + 1
        prediction[position] = label
    return prediction


def direct_segmentation(maps: Maps, scores: Mapping[int, float], threshold: float) -> np.ndarray:
    prediction = np.zeros(SHAPE, np.int64)
    for position in np.ndindex(SHAPE):
        claims = [index for index in sorted(maps) if maps[index][position] > threshold]
        if claims:
            prediction[position] = max(claims, key=lambda index: (scores[index], -index)) + 1
    return prediction


def total(matrices: Iterable[np.ndarray]) -> np.ndarray:
    return np.sum(list(matrices), axis=0)


@given(IMAGES)
@settings(max_examples=100, deadline=None)
def test_seed_sweep_equals_a_segmentation_per_threshold(images: list[tuple[Maps, np.ndarray]]) -> None:
    sweep = SeedSweep(CLASSES, GRID)
    for maps, truth in images:
        sweep.add(maps, truth)
    result = sweep.result()
    for row, threshold in enumerate(GRID):
        expected = total(
            confusion_matrix(seed_segmentation(maps, threshold), truth, CLASSES + 1) for maps, truth in images
        )
        np.testing.assert_array_equal(result.matrices[row], expected)
        np.testing.assert_allclose(result.miou[row], mean_iou(expected)[0], rtol=1e-12)
    if not np.isnan(result.miou).all():
        assert result.miou[result.best] == np.nanmax(result.miou)


@given(SCORED_IMAGES)
@settings(max_examples=100, deadline=None)
def test_direct_sweep_equals_a_segmentation_per_threshold(
    images: list[tuple[Maps, Mapping[int, float], np.ndarray]],
) -> None:
    sweep = DirectSweep(CLASSES, GRID)
    for maps, scores, truth in images:
        sweep.add(maps, scores, truth)
    result = sweep.result()
    for row, threshold in enumerate(GRID):
        expected = total(
            confusion_matrix(direct_segmentation(maps, scores, threshold), truth, CLASSES + 1)
            for maps, scores, truth in images
        )
        np.testing.assert_array_equal(result.matrices[row], expected)


def test_a_perfect_map_is_perfect_at_every_threshold() -> None:
    truth = np.array([[0, 0, 2], [0, 2, 2]], np.uint8)
    sweep = SeedSweep(2, threshold_grid(10))
    sweep.add({1: (truth == 2).astype(np.float32)}, truth)
    result = sweep.result()
    np.testing.assert_array_equal(result.miou, 1.0)
    miou, per_class = result.at(result.best)
    assert miou == 1
    np.testing.assert_array_equal(per_class, [1.0, np.nan, 1.0])


def test_best_threshold_separates_the_object_from_its_surroundings() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    sweep = SeedSweep(1, threshold_grid(10))
    sweep.add({0: np.array([[0.05, 0.35, 0.45, 1.0]])}, truth)
    result = sweep.result()
    assert result.thresholds[result.best] == 0.4
    assert result.miou[result.best] == 1
    assert result.miou[0] == pytest.approx(0.25)  # all is object: 2/4 and 0


def test_the_score_decides_overlaps_in_direct_evaluation() -> None:
    truth = np.array([[1, 2, 2, 255]], np.uint8)
    maps = {0: np.array([[0.5, 0.9, 0.0, 1.0]]), 1: np.array([[0.4, 0.3, 1.0, 0.0]])}
    sweep = DirectSweep(2, [0.2])
    sweep.add(maps, {0: 0.6, 1: 0.9}, truth)
    np.testing.assert_array_equal(sweep.result().matrices[0], [[0, 0, 0], [0, 0, 1], [0, 0, 2]])


def test_an_image_without_predicted_classes_is_background() -> None:
    sweep = DirectSweep(1, [0.2])
    sweep.add({}, {}, np.array([[0, 1]], np.uint8))
    np.testing.assert_array_equal(sweep.result().matrices[0], [[1, 0], [1, 0]])


def test_single_precision_maps_are_counted_exactly() -> None:
    # float32(0.3) is above 0.3, and must stay so beside a double-precision grid.
    truth = np.ones((1, 1), np.uint8)
    sweep = SeedSweep(1, [0.3])
    sweep.add({0: np.full((1, 1), 0.3, np.float32)}, truth)
    assert sweep.result().matrices[0][1, 1] == (np.float64(np.float32(0.3)) > 0.3)


@pytest.mark.parametrize(
    ("maps", "text"),
    [
        ({0: np.full((2, 2), np.nan)}, "must be in"),
        ({0: np.full((2, 2), 1.5)}, "must be in"),
        ({0: np.zeros((2, 3))}, "the mask"),
        ({5: np.zeros((2, 2))}, "class 5"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps: Maps, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SeedSweep(2, GRID).add(maps, np.zeros((2, 2), np.uint8))


def test_a_map_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classes \[1\]"):
        DirectSweep(2, GRID).add({1: np.zeros((2, 2))}, {0: 0.9}, np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("grid", [[], [0.5, 0.5], [0.5, 0.2], [-0.1, 0.2]])
def test_a_grid_out_of_order_is_refused(grid: list[float]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        SeedSweep(2, grid)
