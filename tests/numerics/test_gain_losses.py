"""GAIN's losses and their gradients against equations 3 to 7, written out in double-precision NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attn.losses import attention_mining, erase, external_supervision, multilabel_soft_margin, soft_mask

SEEDS = range(4)


def _pairs(random: np.random.Generator) -> np.ndarray:
    """Pairs of five images with none to three classes each, the images in any order."""
    counts = {0: 2, 1: 0, 2: 1, 3: 3, 4: 1}
    rows = [(image, label) for image, count in counts.items() for label in random.permutation(6)[:count]]
    return np.array(rows)[random.permutation(len(rows))]


def _mean_over_images(values: np.ndarray, pairs: np.ndarray) -> float:
    images = sorted(set(pairs[:, 0].tolist()))
    return float(np.mean([values[pairs[:, 0] == image].mean() for image in images]))


@pytest.mark.parametrize("seed", SEEDS)
def test_multilabel_soft_margin(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(4, 6)) * 5, random.integers(0, 2, size=(4, 6)).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    terms = -labels * np.logaddexp(0, -logits) - (1 - labels) * np.logaddexp(0, logits)
    given = torch.tensor(logits, requires_grad=True)
    loss = multilabel_soft_margin(given, torch.tensor(labels))
    loss.backward()
    assert loss.item() == pytest.approx(-terms.mean(axis=1).mean(), rel=1e-12)
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), (probability - labels) / 24, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_mask(seed: int) -> None:
    maps = np.random.default_rng(seed).random(size=(3, 4, 5))
    expected = 1 / (1 + np.exp(-12.5 * (maps - 0.3)))
    given = torch.tensor(maps, requires_grad=True)
    mask = soft_mask(given, scale=12.5, threshold=0.3)
    np.testing.assert_allclose(mask.detach().numpy(), expected, rtol=1e-12)
    mask.sum().backward()
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), 12.5 * expected * (1 - expected), rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_erase(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs, images = _pairs(random), random.normal(size=(5, 3, 4, 6))
    masks = random.random(size=(len(pairs), 4, 6))
    given = torch.tensor(images, requires_grad=True), torch.tensor(masks, requires_grad=True)
    erased = erase(*given, torch.tensor(pairs))
    for row, (image, _) in enumerate(pairs):
        expected = images[image] - masks[row] * images[image]
        np.testing.assert_allclose(erased[row].detach().numpy(), expected, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(lambda i, m: erase(i, m, torch.tensor(pairs)), given)


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_mining(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = _pairs(random)
    scores = random.normal(size=len(pairs))
    given = torch.tensor(scores, requires_grad=True)
    loss = attention_mining(given, torch.tensor(pairs))
    assert loss.item() == pytest.approx(_mean_over_images(scores, pairs), rel=1e-12)
    loss.backward()
    assert given.grad is not None
    classes = np.array([(pairs[:, 0] == image).sum() for image, _ in pairs])
    np.testing.assert_allclose(given.grad.numpy(), 1 / (classes * 4), rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_external_supervision(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = _pairs(random)
    maps, targets = random.random(size=(2, len(pairs), 3, 5))
    given = torch.tensor(maps, requires_grad=True)
    loss = external_supervision(given, torch.tensor(targets), torch.tensor(pairs))
    squared = ((maps - targets) ** 2).mean(axis=(1, 2))
    assert loss.item() == pytest.approx(_mean_over_images(squared, pairs), rel=1e-12)
    loss.backward()
    assert given.grad is not None
    classes = np.array([(pairs[:, 0] == image).sum() for image, _ in pairs])[:, None, None]
    np.testing.assert_allclose(given.grad.numpy(), 2 * (maps - targets) / 15 / classes / 4, rtol=1e-12, atol=1e-16)
