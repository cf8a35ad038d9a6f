"""Energy, pointing, coverage and precision against plain loops and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attn.evaluation.extent import Extent
from attn.evaluation.localization import threshold_grid

GRID = threshold_grid(5)
SHAPE = (3, 4)
VALUES = st.one_of(st.sampled_from([*GRID.tolist(), 1.0]), st.floats(0, 1, allow_subnormal=False))
IMAGES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 1), hnp.arrays(np.float64, SHAPE, elements=VALUES)),
        hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 255])),
    ),
    min_size=1,
    max_size=3,
)


@given(IMAGES, st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_equals_loops(images: list[tuple[dict[int, np.ndarray], np.ndarray]], tolerance: int) -> None:
    extent = Extent(2, GRID, tolerance=tolerance)
    energy, pointing, coverage, precision = [], [], [], [[] for _ in GRID]
    for maps, truth in images:
        extent.add(maps, truth)
        for index in sorted(maps):
            on = [p for p in np.ndindex(SHAPE) if truth[p] == index + 1]
            counted = [p for p in np.ndindex(SHAPE) if truth[p] != 255]
            if not on:
                continue
            mass = sum(maps[index][p] for p in counted)
            if mass == 0:
                energy.append(0.0)
                pointing.append(0.0)
                coverage.append([0.0] * len(GRID))
                continue
            energy.append(sum(maps[index][p] for p in on) / mass)
            peak = max(counted, key=lambda p: maps[index][p])
            pointing.append(float(any((p[0] - peak[0]) ** 2 + (p[1] - peak[1]) ** 2 <= tolerance**2 for p in on)))
            coverage.append([sum(maps[index][p] > t for p in on) / len(on) for t in GRID])
            for row, t in enumerate(GRID):
                if claimed := sum(maps[index][p] > t for p in counted):
                    precision[row].append(sum(maps[index][p] > t for p in on) / claimed)
    result = extent.result()
    assert result.pairs_per_class.sum() == len(energy)
    if energy:
        assert result.energy == pytest.approx(np.mean(energy), rel=1e-9)
        assert result.pointing == pytest.approx(np.mean(pointing), rel=1e-9)
        np.testing.assert_allclose(result.coverage, np.mean(coverage, 0), rtol=1e-9)
        np.testing.assert_allclose(result.precision, [float(np.mean(p)) if p else np.nan for p in precision], rtol=1e-9)


def test_a_map_on_the_telling_part_is_precise_but_covers_little() -> None:
    truth = np.array([[0, 1, 1, 1, 1, 0]], np.uint8)
    part = np.array([[0.0, 1.0, 0.1, 0.1, 0.1, 0.0]])
    whole = np.array([[0.1, 1.0, 0.9, 0.9, 0.9, 0.1]])
    results = []
    for values in (part, whole):
        extent = Extent(1, [0.5])
        extent.add({0: values}, truth)
        results.append(extent.result())
    assert [r.coverage[0] for r in results] == [0.25, 1.0]
    assert [r.precision[0] for r in results] == [1.0, 1.0]
    assert results[0].energy == 1.0
    assert results[1].energy == pytest.approx(3.7 / 3.9)


def test_a_map_on_the_context_misses() -> None:
    extent = Extent(2, [0.5])
    extent.add({1: np.array([[1.0, 0.25]])}, np.array([[0, 2]], np.uint8))
    result = extent.result()
    assert (result.energy, result.pointing, result.coverage[0]) == (0.2, 0.0, 0.0)
    np.testing.assert_array_equal(result.energy_per_class, [np.nan, 0.2])


def test_a_near_miss_counts_within_the_tolerance() -> None:
    truth = np.array([[0, 0, 0, 1]], np.uint8)
    for tolerance, hit in ((1, 0.0), (2, 1.0)):
        extent = Extent(1, [0.5], tolerance=tolerance)
        extent.add({0: np.array([[0.0, 1.0, 0.2, 0.2]])}, truth)
        assert extent.result().pointing == hit


def test_pixels_to_be_ignored_count_nowhere() -> None:
    extent = Extent(1, [0.5])
    extent.add({0: np.array([[1.0, 0.8, 0.0]])}, np.array([[255, 1, 1]], np.uint8))
    result = extent.result()
    assert (result.energy, result.pointing, result.coverage[0], result.precision[0]) == (1.0, 1.0, 0.5, 1.0)


def test_pairs_that_the_truth_does_not_show_are_counted_apart() -> None:
    extent = Extent(2, [0.5])
    extent.add({0: np.zeros((1, 2)), 1: np.ones((1, 2))}, np.array([[1, 1]], np.uint8))
    result = extent.result()
    assert (result.without_object, result.empty_maps, result.pairs_per_class.tolist()) == (1, 1, [1, 0])
    assert (result.energy, result.pointing) == (0.0, 0.0)
