"""Polygons around regions: exact without a tolerance, near with one, holes and touching parts included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attn.annotations.image import Region, regions_of
from attn.annotations.polygons import polygon_of
from attn.annotations.run_lengths import column_runs, row_runs
from tests.annotations.drawing import SIZE, inside, iou, masked


def whole(region: Region, size: tuple[int, int]) -> np.ndarray:
    result = np.zeros(size, bool)
    left, top, width, height = region.box
    result[top : top + height, left : left + width] = region.pixels
    return result


pixels = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(pixels)
def test_the_regions_of_a_mask_are_its_pixels(mask: np.ndarray) -> None:
    rebuilt = np.zeros_like(mask)
    for region in regions_of(masked("a", mask)):
        pixels = whole(region, mask.shape)
        assert not rebuilt[pixels].any()
        assert region.area == pixels.sum()
        rebuilt[pixels] = region.label + 1
        for runs, drawn in ((row_runs(region, mask.shape), pixels), (column_runs(region, mask.shape), pixels.T)):
            assert all(length > 0 for length in runs[1:])
            assert (np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(drawn.shape) == drawn).all()
    np.testing.assert_array_equal(rebuilt, mask)


@settings(max_examples=150, deadline=None)
@given(pixels)
def test_a_polygon_without_tolerance_is_exact(mask: np.ndarray) -> None:
    for region in regions_of(masked("a", mask)):
        polygon = polygon_of(region, 0)
        np.testing.assert_array_equal(inside(polygon, mask.shape), whole(region, mask.shape))
        assert (polygon == np.rint(polygon)).all()


@pytest.mark.parametrize(("tolerance", "least", "share"), [(0.5, 0.97, 0.7), (1.0, 0.95, 0.5), (2.0, 0.9, 0.3)])
def test_a_simplified_polygon_keeps_holes_and_large_regions(
    masks: list[np.ndarray], tolerance: float, least: float, share: float
) -> None:
    large, *others = sorted(regions_of(masked("a", masks[0])), key=lambda region: -region.area)
    exact, polygon = polygon_of(large, 0), polygon_of(large, tolerance)
    drawn = inside(polygon, SIZE)
    assert iou(drawn, whole(large, SIZE)) >= least
    assert not drawn[20, 22], "the hole"
    assert len(polygon) < len(exact) * share
    for region in others:  # a single pixel, squares, a small disk: none of them vanishes
        assert iou(inside(polygon_of(region, tolerance), SIZE), whole(region, SIZE)) > 0.5


def test_a_thin_line_stays() -> None:
    mask = np.zeros((5, 30), np.uint8)
    mask[2, 3:27] = 1
    (region,) = regions_of(masked("a", mask))
    np.testing.assert_array_equal(inside(polygon_of(region, 3.0), mask.shape), mask == 1)
