"""Maps and their gradients against the papers' equations, written out in double-precision NumPy.

The score is s^c = Σ U^c sin(f), whose derivative U^c cos(f) is known without any autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from attn.maps import (
    MapKind,
    attention,
    channel_attention,
    class_activation,
    grad_cam,
    normalize_max,
    pixel_attention,
    upsample,
)
from attn.models.output import Output

PAIRS = np.array([[0, 1], [0, 3], [2, 0], [2, 1], [2, 2], [3, 3]])
MAPS = {"grad_cam": grad_cam, "channel": channel_attention, "pixel": pixel_attention}
SEEDS = range(4)


def _draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (4, 5, 3, 6) and U (4 classes, 5, 3, 6)."""
    random = np.random.default_rng(seed)
    return random.normal(size=(4, 5, 3, 6)), random.normal(size=(4, 5, 3, 6))


def _scores(features: Tensor, factors: Tensor) -> Tensor:
    return torch.einsum("ckhw,bkhw->bc", factors, features.sin())


def _reference(kind: str, features: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair's map, and the factor of f in it before the ReLU, (N, K, h, w)."""
    maps, weights = [], []
    for image, label in PAIRS:
        f = features[image]
        derivative = factors[label] * np.cos(f)
        if kind == "grad_cam":
            weight = np.broadcast_to(derivative.mean(axis=(1, 2), keepdims=True), f.shape)
        elif kind == "channel":
            weight = np.broadcast_to(np.maximum(derivative, 0).mean(axis=(1, 2), keepdims=True), f.shape)
        else:
            weight = derivative / len(f)
        maps.append(np.maximum((weight * f).sum(axis=0), 0))
        weights.append(weight)
    return np.array(maps), np.array(weights)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MAPS)
def test_values(kind: str, seed: int) -> None:
    features, factors = _draw(seed)
    f = torch.tensor(features, requires_grad=True)
    maps = MAPS[kind](_scores(f, torch.tensor(factors)), f, torch.tensor(PAIRS))
    np.testing.assert_allclose(maps.detach().numpy(), _reference(kind, features, factors)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MAPS)
def test_gradient_with_the_weights_as_constants(kind: str, seed: int) -> None:
    features, factors = _draw(seed)
    f = torch.tensor(features, requires_grad=True)
    maps = MAPS[kind](_scores(f, torch.tensor(factors)), f, torch.tensor(PAIRS))
    upstream = np.random.default_rng(seed + 100).normal(size=maps.shape)
    maps.backward(torch.tensor(upstream))
    values, weights = _reference(kind, features, factors)
    expected = np.zeros_like(features)
    for row, (image, _) in enumerate(PAIRS):
        expected[image] += weights[row] * (upstream[row] * (values[row] > 0))
    assert f.grad is not None
    np.testing.assert_allclose(f.grad.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", MAPS)
def test_gradient_through_the_weights(kind: str) -> None:
    features, factors = (torch.tensor(value, requires_grad=True) for value in _draw(0))

    def maps(features: Tensor, factors: Tensor) -> Tensor:
        return MAPS[kind](_scores(features, factors), features, torch.tensor(PAIRS), weight_gradient=True)

    assert torch.autograd.gradcheck(maps, (features, factors), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["cam", *MAPS])
def test_closed_form_of_a_pooled_linear_head(kind: MapKind, seed: int) -> None:
    random = np.random.default_rng(seed)
    features, weight = random.normal(size=(4, 5, 3, 6)), random.normal(size=(4, 5))
    f, w = torch.tensor(features, requires_grad=True), torch.tensor(weight, requires_grad=True)
    output = Output(f.mean(dim=(2, 3)) @ w.T, {"last": f}, None, w)
    maps = attention(output, torch.tensor(PAIRS), kind=kind, weight_gradient=True)
    for row, (image, label) in enumerate(PAIRS):
        own = weight[label] if kind == "cam" else weight[label] / 18
        own = np.maximum(own, 0) if kind == "channel" else own / 5 if kind == "pixel" else own
        expected = np.maximum(np.tensordot(own, features[image], axes=1), 0)
        np.testing.assert_allclose(maps[row].detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    if kind != "cam":
        by_gradient = MAPS[kind](output.logits, f, torch.tensor(PAIRS), weight_gradient=True)
        torch.testing.assert_close(maps, by_gradient)
        for got, wanted in zip(_gradients(maps, f, w), _gradients(by_gradient, f, w), strict=True):
            torch.testing.assert_close(got, wanted)


def _gradients(maps: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(maps.square().sum(), inputs, retain_graph=True)


def test_class_activation() -> None:
    class_maps = np.random.default_rng(0).normal(size=(4, 4, 3, 6))
    given = torch.tensor(class_maps, requires_grad=True)
    maps = class_activation(given, torch.tensor(PAIRS))
    expected = np.maximum(class_maps[PAIRS[:, 0], PAIRS[:, 1]], 0)
    np.testing.assert_array_equal(maps.detach().numpy(), expected)
    assert torch.autograd.gradcheck(lambda value: class_activation(value, torch.tensor(PAIRS)), (given,))


@pytest.mark.parametrize("seed", SEEDS)
def test_normalize_max(seed: int) -> None:
    maps = np.maximum(np.random.default_rng(seed).normal(size=(4, 3, 5)), 0)
    maps[2] = 0
    peaks = maps.max(axis=(1, 2), keepdims=True)
    expected = np.divide(maps, peaks, out=np.zeros_like(maps), where=peaks > 0)
    given = torch.tensor(maps, requires_grad=True)
    np.testing.assert_allclose(normalize_max(given).detach().numpy(), expected, rtol=1e-14)
    # d(m_i / p)/dm_j = (δ_ij − [j is the peak] m_i / p) / p
    upstream = np.random.default_rng(seed + 9).normal(size=maps.shape)
    normalize_max(given).backward(torch.tensor(upstream))
    assert given.grad is not None
    for row in (0, 1, 3):
        gradient = upstream[row].copy()
        gradient[maps[row] == peaks[row]] -= (upstream[row] * expected[row]).sum()
        np.testing.assert_allclose(given.grad[row].numpy(), gradient / peaks[row, 0, 0], rtol=1e-10, atol=1e-12)


def test_upsample_is_bilinear_between_pixel_centres() -> None:
    maps = np.random.default_rng(0).random(size=(2, 3, 4))
    got = upsample(torch.tensor(maps), (7, 9)).numpy()
    for row, column in np.ndindex(7, 9):
        y = np.clip((row + 0.5) * 3 / 7 - 0.5, 0, 2)
        x = np.clip((column + 0.5) * 4 / 9 - 0.5, 0, 3)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 2), min(left + 1, 3)
        dy, dx = y - top, x - left
        upper = maps[:, top, left] * (1 - dx) + maps[:, top, right] * dx
        lower = maps[:, bottom, left] * (1 - dx) + maps[:, bottom, right] * dx
        np.testing.assert_allclose(got[:, row, column], upper * (1 - dy) + lower * dy, rtol=1e-12)


@pytest.mark.parametrize("kind", MAPS.values())
def test_incoming_gradient_is_one(kind: Callable[..., Tensor]) -> None:
    """A score that is shifted or negative has the same map: the score itself is no factor of it."""
    features, factors = (torch.tensor(value, requires_grad=True) for value in _draw(1))
    scores = _scores(features, factors)
    shifted = kind(scores - 1000, features, torch.tensor(PAIRS))
    torch.testing.assert_close(shifted, kind(scores, features, torch.tensor(PAIRS)))
