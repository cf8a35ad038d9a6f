"""The dense CRF: what it must do to an image whose edge is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from attn.evaluation import OAA_CRF, SEC_CRF, CrfConfig, dense_crf


def two_halves() -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light half, and probabilities whose boundary is off by four columns."""
    image = np.zeros((24, 32, 3), np.uint8)
    image[:, 16:] = 200
    probs = np.full((2, 24, 32), 0.35, np.float32)
    probs[0, :, :12] = 0.65
    probs[1] = 1 - probs[0]
    return image, probs


def test_the_boundary_moves_to_the_edge_of_the_image() -> None:
    image, probs = two_halves()
    refined = dense_crf(image, probs, SEC_CRF)
    expected = np.tile(np.arange(32) >= 16, (24, 1))
    assert (refined.argmax(0) == expected).mean() > 0.98
    assert refined.dtype == np.float32
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-4)


def test_without_pairwise_terms_probabilities_stay() -> None:
    image, probs = two_halves()
    refined = dense_crf(image, probs, CrfConfig(bilateral_weight=0.0, gaussian_weight=0.0))
    np.testing.assert_allclose(refined, probs, atol=1e-5)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def strided(array: np.ndarray) -> np.ndarray:
    """The same values, of which no two neighbours lie side by side."""
    return np.repeat(np.repeat(array, 2, axis=-1), 2, axis=-2)[..., ::2, ::2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray, read_only, strided], ids=lambda f: f.__name__)
def test_layout_and_precision_of_the_input_do_not_matter(layout: Callable[..., np.ndarray], dtype: Any) -> None:
    image, probs = two_halves()
    probs = np.round(probs * 256) / 256  # the same number in every type
    expected = dense_crf(image, probs, OAA_CRF)
    np.testing.assert_array_equal(dense_crf(layout(image), layout(probs.astype(dtype)), OAA_CRF), expected)


def test_probabilities_may_share_memory() -> None:
    """As those of one image that is mirrored, or of a channel that is the same everywhere."""
    image, probs = two_halves()
    even = np.full((2, 24, 32), 0.5)
    expected = dense_crf(image, even, OAA_CRF)
    np.testing.assert_array_equal(dense_crf(image, np.broadcast_to(even[:, :1, :1], even.shape), OAA_CRF), expected)
    mirrored = dense_crf(image[:, ::-1].copy(), probs[..., ::-1].copy(), OAA_CRF)
    np.testing.assert_array_equal(dense_crf(image[:, ::-1], probs[..., ::-1], OAA_CRF), mirrored)


def test_certainty_does_not_become_infinite() -> None:
    image, probs = two_halves()
    assert np.isfinite(dense_crf(image, np.round(probs), OAA_CRF)).all()


def test_inputs_are_left_as_they_were() -> None:
    image, probs = two_halves()
    copies = image.copy(), probs.copy()
    dense_crf(image, probs, OAA_CRF)
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(probs, copies[1])


@pytest.mark.parametrize(
    ("image", "probs", "text"),
    [
        (np.zeros((4, 4, 3)), np.full((2, 4, 4), 0.5), "uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 5), 0.5), "do not fit"),
        (np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), np.nan), r"\[0, 1\]"),
        (np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 2.0), r"\[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(image: np.ndarray, probs: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dense_crf(image, probs, OAA_CRF)


def test_an_impossible_width_is_refused() -> None:
    with pytest.raises(ValidationError):
        CrfConfig(bilateral_rgb=0.0)
