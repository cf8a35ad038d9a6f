"""CRFs within a training step: the same numbers on any number of processes, in parts or at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from attn.data.transforms import InputConfig
from attn.errors import ConfigError
from attn.maps.dense_crf import CrfConfig, dense_crf
from attn.segmentation.crf_pool import LocalCrfPool, refine, refine_mask
from attn.segmentation.methods import TRAINING_CRF
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.refinement import Refinement

INPUT = InputConfig(size=33)


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalCrfPool]:
    with LocalCrfPool(2) as pool:
        yield pool


def _images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, 33, 33, generator=torch.Generator().manual_seed(1))


def _network(batch_norm: str = "frozen") -> torch.nn.Module:
    torch.manual_seed(0)
    config = SegmentationModelConfig(name="tiny", weights=None, hidden=8, dropout=0, batch_norm=batch_norm)
    return config.build(3)


def _crop(seed: int) -> tuple[np.ndarray, np.ndarray, CrfConfig]:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return image, random.dirichlet([1] * 4, (12, 16)).transpose(2, 0, 1).astype(np.float32), CrfConfig(iterations=3)


def test_every_pool_gives_the_same_bits(pool: LocalCrfPool) -> None:
    crops = [_crop(seed) for seed in range(7)]
    for work in (refine, refine_mask):
        direct = [work(*crop) for crop in crops]
        for other in (LocalCrfPool(0), pool):
            waiting = [other.submit(work, *crop) for crop in crops]
            for one, expected in zip(waiting, direct, strict=True):
                np.testing.assert_array_equal(one.result(), expected)
    np.testing.assert_array_equal(refine_mask(*crops[0]), refine(*crops[0]).argmax(0))


def test_parts_and_processes_change_nothing(pool: LocalCrfPool) -> None:
    # In float64: a network's float32 sums over a part of the batch may be in another order than over all of it.
    network, images = _network().double(), _images().double()
    expected = None
    for used, parts in ((LocalCrfPool(0), None), (LocalCrfPool(0), 3), (pool, 1), (pool, 5), (pool, 16)):
        logits, waiting = Refinement(INPUT, used).forward(network, images, TRAINING_CRF, overlap=parts)
        refined = waiting.result()
        assert refined.shape == logits.shape == (5, 4, 5, 5)
        assert logits.requires_grad
        assert not refined.requires_grad
        expected = expected if expected is not None else (logits, refined)
        torch.testing.assert_close(logits, expected[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(refined, expected[1], rtol=1e-4, atol=1e-5)


def test_the_crf_sees_the_images_own_colours() -> None:
    network, images = _network(), _images(2)
    logits, waiting = Refinement(INPUT, LocalCrfPool(0)).forward(network, images, TRAINING_CRF)
    mean, std = np.array(INPUT.mean), np.array(INPUT.std)
    corners = images[:, :, ::8, ::8].permute(0, 2, 3, 1).numpy()  # 33 pixels, 5 positions
    colours = np.clip(np.rint(255 * (corners * std + mean)), 0, 255).astype(np.uint8)
    probs = logits.detach().softmax(1).numpy()
    for row, refined in enumerate(waiting.result()):
        np.testing.assert_allclose(refined.numpy(), dense_crf(colours[row], probs[row], TRAINING_CRF), atol=1e-6)


def test_a_weaker_unary() -> None:
    network, images = _network(), _images(1)
    refinement = Refinement(INPUT, LocalCrfPool(0))
    alone = CrfConfig(bilateral_weight=0, gaussian_weight=0)  # the unary term by itself
    logits, waiting = refinement.forward(network, images, alone, probability_unary=True)
    weak = logits.detach().softmax(1).exp()
    torch.testing.assert_close(waiting.result(), weak / weak.sum(1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_batch_normalisation_must_see_the_whole_batch() -> None:
    network, images = _network("train"), _images()
    refinement = Refinement(INPUT, LocalCrfPool(0))
    with pytest.raises(ConfigError, match="overlap=2 would let batch normalisation see parts"):
        refinement.forward(network, images, TRAINING_CRF, overlap=2)
    refinement.forward(network, images, TRAINING_CRF)
