"""The losses of SEC and DSRG and their gradients against the equations, written out in double-precision NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from attn.losses import balanced_seeding, boundary, expansion, floored_log_softmax, seeding

SEEDS = range(3)
Function = Callable[[np.ndarray], float]


def _numeric_gradient(function: Function, at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (function(above) - function(below)) / (2 * step)
    return gradient


def _log_probs(random: np.random.Generator, shape: tuple[int, ...] = (3, 4, 3, 5)) -> np.ndarray:
    logits = random.normal(size=shape) * 2
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def _cues(random: np.random.Generator) -> np.ndarray:
    cues = random.choice([0, 1, 2, 3, 255], size=(3, 3, 5))
    cues[1] = 255  # an image without any cue
    cues[2][cues[2] == 0] = 255  # one without background
    return cues


def _seeding(log_probs: np.ndarray, cues: np.ndarray, sides: list[list[int]]) -> float:
    total = 0.0
    for image in range(len(cues)):
        for side in sides:
            at = [(row, col) for row, col in np.ndindex(cues[image].shape) if cues[image, row, col] in side]
            if at:
                total -= sum(log_probs[image, cues[image, row, col], row, col] for row, col in at) / len(at)
    return total / len(cues)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss", "sides"), [(seeding, [[0, 1, 2, 3]]), (balanced_seeding, [[0], [1, 2, 3]])])
def test_seeding(loss: Callable[..., torch.Tensor], sides: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    log_probs, cues = _log_probs(random), _cues(random)
    given = torch.tensor(log_probs, requires_grad=True)
    value = loss(given, torch.tensor(cues))
    value.backward()
    assert value.item() == pytest.approx(_seeding(log_probs, cues, sides), rel=1e-12)
    assert given.grad is not None
    expected = _numeric_gradient(lambda x: _seeding(x, cues, sides), log_probs)
    np.testing.assert_allclose(given.grad.numpy(), expected, atol=1e-8)
    assert loss(given, torch.full((3, 3, 5), 255, dtype=torch.uint8)).item() == 0


def _rank_pooled(values: np.ndarray, decay: float) -> float:
    ordered = sorted(values.ravel().tolist(), reverse=True)
    weights = [decay**rank for rank in range(len(ordered))]
    return sum(w * v for w, v in zip(weights, ordered, strict=True)) / sum(weights)


def _expansion(probs: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for image, present in zip(probs, labels, strict=True):
        there, absent = np.flatnonzero(present) + 1, np.flatnonzero(present == 0) + 1
        if len(there):
            total -= np.mean([np.log(_rank_pooled(image[c], 0.996)) for c in there])
        if len(absent):
            total -= np.mean([np.log(1 - image[c].max()) for c in absent])
        total -= np.log(_rank_pooled(image[0], 0.999))
    return total / len(probs)


@pytest.mark.parametrize("seed", SEEDS)
def test_expansion(seed: int) -> None:
    random = np.random.default_rng(seed)
    probs = np.exp(_log_probs(random))
    labels = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    given = torch.tensor(probs, requires_grad=True)
    value = expansion(given, torch.tensor(labels))
    value.backward()
    assert value.item() == pytest.approx(_expansion(probs, labels), rel=1e-12)
    assert given.grad is not None
    expected = _numeric_gradient(lambda x: _expansion(x, labels), probs)
    np.testing.assert_allclose(given.grad.numpy(), expected, atol=1e-7)
    with_background = torch.tensor(np.concatenate([np.ones((3, 1), int), labels], 1))
    assert expansion(given, with_background).item() == value.item()


def test_expansion_between_mean_and_maximum() -> None:
    probs = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    present = torch.ones(1, 1)
    mean = expansion(probs, present, decay_present=1, decay_background=1)
    assert mean.item() == pytest.approx(-(probs[0].mean(dim=(1, 2)).log().sum()).item())
    maximum = expansion(probs, present, decay_present=1e-12, decay_background=1e-12)
    assert maximum.item() == pytest.approx(-(probs[0].amax(dim=(1, 2)).log().sum()).item())


def test_certain_probabilities_stay_finite() -> None:
    probs = torch.zeros(1, 3, 2, 2, requires_grad=True)
    value = expansion(probs + torch.tensor([0.0, 0.0, 1.0])[:, None, None], torch.tensor([[1, 0]]))
    value.backward()
    assert torch.isfinite(value)
    assert probs.grad is not None
    assert torch.isfinite(probs.grad).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_boundary(seed: int) -> None:
    random = np.random.default_rng(seed)
    log_probs, refined = _log_probs(random), np.exp(_log_probs(random))
    refined[0, :, 0, 0] = [1, 0, 0, 0]

    def reference(values: np.ndarray) -> float:
        terms = np.where(refined > 0, refined * (np.log(np.where(refined > 0, refined, 1)) - values), 0)
        return float(terms.sum(1).mean(axis=(1, 2)).mean())

    given = torch.tensor(log_probs, requires_grad=True)
    constant = torch.tensor(refined, requires_grad=True)
    value = boundary(given, constant)
    value.backward()
    assert value.item() == pytest.approx(reference(log_probs), rel=1e-12)
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), _numeric_gradient(reference, log_probs), atol=1e-8)
    assert constant.grad is None, "the CRF is not differentiated"
    assert boundary(torch.tensor(np.log(np.exp(log_probs))), torch.tensor(np.exp(log_probs))).item() == pytest.approx(0)


@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.1])
def test_floored_softmax(floor: float) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 4, 2, 3)) * 30
    given = torch.tensor(logits, requires_grad=True)

    def reference(values: np.ndarray) -> np.ndarray:
        probs = np.exp(values - values.max(1, keepdims=True))
        probs = probs / probs.sum(1, keepdims=True) + floor
        return probs / probs.sum(1, keepdims=True)

    log_probs = floored_log_softmax(given, floor=floor)
    np.testing.assert_allclose(log_probs.detach().exp().numpy(), reference(logits), atol=1e-12)
    log_probs.exp()[:, 0].sum().backward()
    assert given.grad is not None
    expected = _numeric_gradient(lambda x: float(reference(x)[:, 0].sum()), logits)
    np.testing.assert_allclose(given.grad.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: seeding(p, torch.zeros(2, 3, 3, dtype=torch.long)), "cues have the shape"),
        (lambda p: seeding(p, torch.full((2, 4, 4), 3)), "in \\[0, 3\\) or 255"),
        (lambda p: balanced_seeding(p, torch.zeros(2, 4, 4)), "must be integers"),
        (lambda p: expansion(p.exp(), torch.ones(2, 5)), "without the background"),
        (lambda p: expansion(p.exp() + 1, torch.ones(2, 2)), "in \\[0, 1\\]"),
        (lambda p: expansion(p.exp(), torch.ones(2, 2), decay_present=0), "decay"),
        (lambda p: boundary(p, p.exp()[:1]), "refined probabilities"),
        (lambda p: boundary(p, -p.exp()), "negative"),
        (lambda p: floored_log_softmax(p[0]), "\\(B, C, h, w\\)"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.log_softmax(torch.zeros(2, 3, 4, 4), dim=1))
