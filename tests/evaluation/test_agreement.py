"""The threshold at which maps agree best with saliency, against the definition written out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from attn.data.sample import Record
from attn.evaluation.agreement import SaliencyAgreement
from attn.evaluation.localization import threshold_grid
from attn.evaluation.score import ThresholdRule

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
        whole.add(_record(number), *one)
        parts[number % 2].add(_record(number), *one)
    expected = _plain(images, at)
    np.testing.assert_allclose(whole.mean, expected, rtol=1e-12)
    assert (whole.best, whole.images) == (int(np.argmax(expected)), 5)
    parts[0].merge(parts[1])
    np.testing.assert_allclose(parts[0].mean, expected, rtol=1e-12)


def _record(number: int) -> Record:
    return Record(image_id=f"image{number}", image="", labels=(0,))


def test_the_rule_tells_what_has_chosen_the_threshold() -> None:
    """Images and, where the data gives it, the saliency itself; not in which order or by how many processes."""
    images = _images(4, seed=5)

    def rule(numbers: Sequence[int], *, inverse: bool = False, saliency: str = "given by the data") -> ThresholdRule:
        parts = [SaliencyAgreement(GRID, 0.5) for _ in range(2)]
        for place, number in enumerate(numbers):
            highest, salient = images[number]
            parts[place % 2].add(_record(number), highest, 255 - salient if inverse else salient)
        parts[0].merge(parts[1])
        return parts[0].rule(saliency)

    first = rule([0, 1, 2])
    assert first.images == 3
    assert first == rule([2, 1, 0])
    others = [rule([0, 1]), rule([0, 1, 3]), rule([0, 1, 2], inverse=True), rule([0, 1, 2], saliency="u2netp 309c")]
    assert len({one.fingerprint for one in [first, *others]}) == 5
    assert others[-1] == rule([0, 1, 2], inverse=True, saliency="u2netp 309c"), "known by the network"


def test_maps_that_are_saliency_agree_at_its_threshold() -> None:
    saliency = np.arange(256, dtype=np.uint8).reshape(16, 16)
    agreement = SaliencyAgreement(GRID, 0.5)
    agreement.add(_record(0), saliency / np.float32(255), saliency)
    assert GRID[agreement.best] == 0.5
    assert agreement.mean[agreement.best] == 1


def test_without_images_nothing_agrees() -> None:
    agreement = SaliencyAgreement(GRID, 0.5)
    agreement.add(_record(0), np.ones((2, 2), np.float32), np.full((2, 2), 127, np.uint8))
    assert agreement.images == 0
    assert np.isnan(agreement.mean).all()
    with pytest.raises(ValueError, match=r"shape \(2, 2\), the saliency \(2, 3\)"):
        agreement.add(_record(0), np.ones((2, 2), np.float32), np.zeros((2, 3), np.uint8))
