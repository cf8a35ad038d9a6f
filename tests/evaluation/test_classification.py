"""Classification scores on cases worked out by hand and against definitions in plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from attn.evaluation import average_precision, roc_auc, threshold_accuracy
from attn.evaluation.classification import predicted_classes, top_k_accuracy
from tests.evaluation.plain import devkit_ap, devkit_ap_2007, devkit_curve, plain_ap


def plain_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of (positive, negative) couples in the right order, a tie being half right."""
    right = [1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[labels == 1] for n in scores[labels == 0]]
    return float(np.mean(right))


@given(
    hnp.arrays(np.float64, (7, 3), elements=st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9])),
    hnp.arrays(np.int64, (7, 3), elements=st.integers(0, 1)),
)
@settings(max_examples=50, deadline=None)
def test_equal_their_definitions(scores: np.ndarray, labels: np.ndarray) -> None:
    for metric, plain in ((average_precision, plain_ap), (roc_auc, plain_auc)):
        result = metric(scores, labels)
        for index in range(3):
            if 0 < labels[:, index].sum() < 7:
                assert result.per_class[index] == pytest.approx(plain(scores[:, index], labels[:, index]))
            else:
                assert index in result.left_out
                assert np.isnan(result.per_class[index])
        if len(result.left_out) < 3:
            assert result.mean == pytest.approx(np.nanmean(result.per_class))
        else:
            assert np.isnan(result.mean)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("digits", [1, 2, 9])
def test_average_precision_equals_scikit_learns(digits: int, dtype: type[np.floating[Any]]) -> None:
    """With many images of equal score, with some, and with none."""
    generator = np.random.default_rng(digits)
    scores = generator.normal(size=(1000, 8)).round(digits).astype(dtype)
    labels = (generator.random((1000, 8)) < generator.random(8)).astype(np.int64)
    expected = [average_precision_score(labels[:, index], scores[:, index]) for index in range(8)]
    np.testing.assert_array_equal(average_precision(scores, labels).per_class, expected)


@given(
    hnp.arrays(np.float64, (23, 2), elements=st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9])),
    hnp.arrays(np.int64, (23, 2), elements=st.sampled_from([-1, -1, 0, 1])),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_vocs_rules_equal_the_development_kits(scores: np.ndarray, truth: np.ndarray, counted: bool) -> None:
    """With ties and difficult objects, whether the latter are among the labels or not."""
    labels = np.where(truth == 0, int(counted), truth > 0)
    results = {
        devkit_ap: average_precision(scores, labels, rule="voc2010", ignored_NC=truth == 0),
        devkit_ap_2007: average_precision(scores, labels, rule="voc2007", ignored_NC=truth == 0),
    }
    for devkit, result in results.items():
        for index in range(2):
            if {1, -1} <= set(truth[:, index].tolist()):
                expected = devkit(*devkit_curve(scores[:, index], truth[:, index]))
                assert result.per_class[index] == pytest.approx(expected, abs=1e-12)
            else:
                assert index in result.left_out


def test_vocs_rules_by_hand() -> None:
    # Hits at ranks 1, 3, 4 of 5: precisions 1, 2/3, 3/4, of which the second is lifted to the third.
    scores, labels = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]]), np.array([[1], [0], [1], [1], [0]])
    assert average_precision(scores, labels).mean == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(scores, labels, rule="voc2010").mean == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    assert average_precision(scores, labels, rule="voc2007").mean == pytest.approx((4 + 7 * 3 / 4) / 11)
    # The first hit is ignored, which leaves hits at ranks 2 and 3 of 4.
    first = np.array([[True], [False], [False], [False], [False]])
    assert average_precision(scores, labels, rule="voc2010", ignored_NC=first).mean == pytest.approx(2 / 3)


def test_recalls_of_tenths_are_reached_exactly() -> None:
    """0.3 of ten positives is the third, though 3 * 0.1 is more than 0.3 to a computer."""
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1])[:, None]
    scores = np.linspace(1, 0, 13)[:, None]
    assert average_precision(scores, labels, rule="voc2007").mean == pytest.approx((4 * 1 + 7 * 10 / 13) / 11)


def test_equal_scores_keep_their_order() -> None:
    labels = np.array([[1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(average_precision(np.ones((3, 2)), labels, rule="voc2010").per_class, [1, 2 / 3])


def test_recall_and_specificity_read_off_the_biased_splits() -> None:
    # Class 0 without its context: found in one of two. Context alone: class 0 claimed in one of three.
    probabilities = np.array([[0.9, 0.1], [0.4, 0.1], [0.8, 0.9], [0.3, 0.9], [0.5, 0.9]])
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    recall, specificity = threshold_accuracy(probabilities, labels)
    np.testing.assert_allclose(recall.per_class, [1 / 2, 1.0])
    np.testing.assert_allclose(specificity.per_class, [2 / 3, 1.0])
    assert recall.mean == 0.75


def test_a_split_without_negatives_has_recall_only() -> None:
    recall, specificity = threshold_accuracy(np.array([[0.9], [0.2]]), np.array([[1], [1]]))
    assert recall.mean == 0.5
    assert specificity.left_out == (0,)
    assert np.isnan(specificity.mean)


@pytest.mark.parametrize(
    ("scores", "labels", "text"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), "must both be"),
        (np.zeros((2, 2)), np.full((2, 2), 2), "0 or 1"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(scores: np.ndarray, labels: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        average_precision(scores, labels)


def test_what_is_ignored_must_be_said_of_every_pair() -> None:
    with pytest.raises(ValueError, match="ignored"):
        average_precision(np.zeros((2, 2)), np.zeros((2, 2)), ignored_NC=np.zeros((2, 3), bool))


def test_top_k_accuracy_is_over_images_and_per_class() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2], [0.2, 0.5, 0.3]])
    labels = np.eye(4, dtype=int)[[0, 1, 1, 1], :3]
    first = top_k_accuracy(probabilities, labels)
    assert first.mean == 0.5  # the tie of the third goes to class 0
    np.testing.assert_array_equal(first.per_class, [1.0, 1 / 3, np.nan])
    assert first.left_out == (2,)
    assert top_k_accuracy(probabilities, labels, 2).mean == 1.0
    with pytest.raises(ValueError, match="exactly one class"):
        top_k_accuracy(probabilities, np.ones_like(labels))


def test_predicted_classes() -> None:
    probabilities = np.array([0.4, 0.6, 0.7])
    assert predicted_classes(probabilities, threshold=0.5, exclusive=False) == (1, 2)
    assert predicted_classes(probabilities, threshold=0.9, exclusive=False) == ()
    assert predicted_classes(probabilities, threshold=0.9, exclusive=True) == (2,)
