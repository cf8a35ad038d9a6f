"""The refinement by CRF is the dense CRF on the maps and a constant background."""

from __future__ import annotations

import numpy as np
import torch

from attn.maps.dense_crf import SEC_CRF, dense_crf
from attn.maps.refine import CrfRefinementConfig


def test_it_equals_the_dense_crf() -> None:
    generator = np.random.default_rng(0)
    photograph = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    maps = generator.random((2, 20, 30), np.float32)
    refined = CrfRefinementConfig(background=0.4, crf=SEC_CRF).open(torch.device("cpu"))(photograph, maps)
    scores = np.concatenate([np.full((1, 20, 30), 0.4, np.float32), maps])
    expected = dense_crf(photograph, scores / scores.sum(0), SEC_CRF)[1:]
    for one, probability in zip(refined, expected, strict=True):
        np.testing.assert_allclose(one, probability / probability.max(), atol=1e-6)


def test_a_class_that_the_crf_gives_nothing_says_nothing() -> None:
    photograph = np.full((20, 20, 3), 90, np.uint8)
    maps = np.zeros((2, 20, 20), np.float32)
    maps[0] = 1
    maps[1, 3, 3] = 0.05
    refined = CrfRefinementConfig(crf=SEC_CRF).open(torch.device("cpu"))(photograph, maps)
    assert refined[0].min() > 0.9
    assert not refined[1].any()
