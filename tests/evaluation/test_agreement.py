"""The threshold at which maps agree best with saliency, against the definition written out."""

from __future__ import annotations

import numpy as np
import pytest

from attn.evaluation.agreement import SaliencyAgreement
from attn.evaluation.localization import threshold_grid

GRID = threshold_grid(20)


def _images(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.choice(np.arange(21) / 20, (6, 9)).astype(np.float32), rng.integers(0, 256, (6, 9)).astype(np.uint8))
        for _ in range(count)
    ]


def _plain(images: list[tuple[np.ndarray, np.ndarray]], at: float) -> list[float]:
    """Mean IoU at each threshold."""
    results = []
    for threshold in GRID:
        ious = []
        for highest, saliency in images:
            claimed, salient = highest > threshold, saliency / 255 > at
            if salient.any():
                ious.append((claimed & salient).sum() / (claimed | salient).sum())
        results.append(float(np.mean(ious)))
    return results


@pytest.mark.parametrize("at", [0.0, 0.4, 0.5])
def test_agreement_is_the_mean_iou_of_the_images(at: float) -> None:
    images = [*_images(5, seed=3), (np.ones((4, 4), np.float32), np.zeros((4, 4), np.uint8))]
    whole, parts = SaliencyAgreement(GRID, at), [SaliencyAgreement(GRID, at) for _ in range(2)]
    for number, one in enumerate(images):
        whole.add(*one)
        parts[number % 2].add(*one)
    expected = _plain(images, at)
    np.testing.assert_allclose(whole.mean, expected, rtol=1e-12)
    assert (whole.best, whole.images) == (int(np.argmax(expected)), 5)
    parts[0].merge(parts[1])
    np.testing.assert_allclose(parts[0].mean, expected, rtol=1e-12)


def test_maps_that_are_saliency_agree_at_its_threshold() -> None:
    saliency = np.arange(256, dtype=np.uint8).reshape(16, 16)
    agreement = SaliencyAgreement(GRID, 0.5)
    agreement.add(saliency / np.float32(255), saliency)
    assert GRID[agreement.best] == 0.5
    assert agreement.mean[agreement.best] == 1


def test_without_images_nothing_agrees() -> None:
    agreement = SaliencyAgreement(GRID, 0.5)
    agreement.add(np.ones((2, 2), np.float32), np.full((2, 2), 127, np.uint8))
    assert agreement.images == 0
    assert np.isnan(agreement.mean).all()
    with pytest.raises(ValueError, match=r"shape \(2, 2\), the saliency \(2, 3\)"):
        agreement.add(np.ones((2, 2), np.float32), np.zeros((2, 3), np.uint8))
