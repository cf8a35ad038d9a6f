"""AttnBN's losses and their gradients against equations 3, 5 and 6, written out in double-precision NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attn.losses import adversarial_loss, attention_constraint, discriminator_loss

SEEDS = range(4)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def leaf(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def gradient(tensor: torch.Tensor) -> np.ndarray:
    assert tensor.grad is not None
    return tensor.grad.numpy()


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_constraint(seed: int) -> None:
    maps, saliency = np.random.default_rng(seed).random(size=(2, 3, 4, 5))
    given = leaf(maps)
    loss = attention_constraint(given, torch.tensor(saliency))
    loss.backward()
    assert loss.item() == pytest.approx(np.mean([((maps[n] - saliency[n]) ** 2).mean() for n in range(3)]), rel=1e-12)
    np.testing.assert_allclose(gradient(given), 2 * (maps - saliency) / 60, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("seed", SEEDS)
def test_discriminator_loss(seed: int) -> None:
    random = np.random.default_rng(seed)
    source, target = random.normal(size=(3, 1, 2, 2)) * 5, random.normal(size=(2, 1, 2, 2)) * 5
    given = leaf(source), leaf(target)
    loss = discriminator_loss(*given)
    loss.backward()
    expected = -np.log(sigmoid(source)).mean() - np.log(1 - sigmoid(target)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(gradient(given[0]), -sigmoid(-source) / source.size, rtol=1e-10)
    np.testing.assert_allclose(gradient(given[1]), sigmoid(target) / target.size, rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_adversarial_loss(seed: int) -> None:
    target = np.random.default_rng(seed).normal(size=(3, 1, 2, 2)) * 5
    given = leaf(target)
    loss = adversarial_loss(given)
    loss.backward()
    assert loss.item() == pytest.approx(-np.log(sigmoid(target)).mean(), rel=1e-10)
    np.testing.assert_allclose(gradient(given), -sigmoid(-target) / target.size, rtol=1e-10)


def test_extreme_logits_stay_finite_and_keep_their_gradient() -> None:
    source, target = leaf(np.array([-800.0, 800.0])), leaf(np.array([800.0, -800.0]))
    loss = discriminator_loss(source, target)
    loss.backward()
    assert loss.item() == pytest.approx(800)
    np.testing.assert_allclose(gradient(source), [-0.5, 0])
    np.testing.assert_allclose(gradient(target), [0.5, 0])
    assert adversarial_loss(torch.tensor([-800.0])).item() == 800


def test_a_discriminator_that_knows_nothing_has_two_ln_two() -> None:
    assert discriminator_loss(torch.zeros(4, 1, 2, 2), torch.zeros(2, 1)).item() == pytest.approx(2 * np.log(2))


def test_no_source_image_constrains_nothing() -> None:
    maps = torch.zeros(0, 3, 3, requires_grad=True)
    loss = attention_constraint(maps, torch.zeros(0, 3, 3))
    loss.backward()
    assert loss.item() == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 2\) and \(1, 3, 3\)"):
        attention_constraint(torch.zeros(1, 2, 2), torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match=r"saliency must be in \[0, 1\]; it ranges from 0.0 to 255.0"):
        attention_constraint(torch.zeros(1, 1, 2), torch.tensor([[[0.0, 255.0]]]))
    with pytest.raises(ValueError, match="source logits.*int64"):
        discriminator_loss(torch.zeros(2, dtype=torch.int64), torch.zeros(2))
    with pytest.raises(ValueError, match="target logits.*at least one"):
        adversarial_loss(torch.zeros(0))
