"""Confusion matrix and mean IoU against plain loops and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import jaccard_score

from attn.evaluation import confusion_matrix, mean_iou

SHAPE = (4, 5)
PREDICTION = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 3))
TRUTH = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(PREDICTION, TRUTH)
@settings(deadline=None)
def test_confusion_matrix_equals_a_loop(prediction: np.ndarray, truth: np.ndarray) -> None:
    expected = np.zeros((4, 4), np.int64)
    for true, predicted in zip(truth.ravel(), prediction.ravel(), strict=True):
        if true != 255:
            expected[true, predicted] += 1
    matrix = confusion_matrix(prediction, truth, 4)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected)


@given(PREDICTION, TRUTH)
@settings(deadline=None)
def test_mean_iou_equals_a_loop_over_sets(prediction: np.ndarray, truth: np.ndarray) -> None:
    mean, per_class = mean_iou(confusion_matrix(prediction, truth, 4))
    counted = truth != 255
    expected = []
    for index in range(4):
        a, b = (prediction == index) & counted, (truth == index) & counted
        expected.append((a & b).sum() / (a | b).sum() if (a | b).any() else np.nan)
    np.testing.assert_allclose(per_class, expected, rtol=1e-12)
    if counted.any():
        assert mean == pytest.approx(np.nanmean(expected), rel=1e-12)
    else:
        assert np.isnan(mean)


def test_mean_iou_equals_scikit_learns_where_every_class_occurs() -> None:
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 5, (2, 40, 50))
    expected = jaccard_score(truth.ravel(), prediction.ravel(), average="macro")
    mean, _ = mean_iou(confusion_matrix(prediction, truth, 5))
    assert mean == pytest.approx(expected, rel=1e-12)


def test_absent_class_is_left_out_and_a_wrongly_predicted_one_is_not() -> None:
    mean, per_class = mean_iou(confusion_matrix([[0, 1]], [[0, 0]], 3))
    np.testing.assert_array_equal(per_class, [0.5, 0.0, np.nan])
    assert mean == 0.25


def test_matrices_of_images_add_up() -> None:
    random = np.random.default_rng(1)
    prediction, truth = random.integers(0, 3, (2, 6, 7))
    parts = [confusion_matrix(p, t, 3) for p, t in zip(prediction, truth, strict=True)]
    np.testing.assert_array_equal(sum(parts), confusion_matrix(prediction, truth, 3))


@pytest.mark.parametrize(
    ("prediction", "truth", "text"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "differ in shape"),
        (np.full((2, 2), 3), np.zeros((2, 2)), "prediction must have"),
        (np.zeros((2, 2)), np.full((2, 2), 4), "truth must have"),
        (np.full((2, 2), -1), np.zeros((2, 2)), "prediction must have"),
    ],
)
def test_what_does_not_fit_is_refused(prediction: np.ndarray, truth: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        confusion_matrix(prediction, truth, 3)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        mean_iou(np.zeros((2, 3), np.int64))
