"""OAA+'s losses and their gradients against equations 6 to 9, position by position in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch

from attn.losses import integral_cross_entropy, integral_hybrid

ABSENT: tuple[Literal["negative", "constrain", "ignore"], ...] = ("negative", "constrain", "ignore")
LOSSES = {"cross_entropy": integral_cross_entropy, "hybrid": integral_hybrid}


def _log_q(f: float) -> float:
    return -float(np.logaddexp(0, -f))


def _log_not_q(f: float) -> float:
    return -float(np.logaddexp(0, f))


def _cross_entropy(f: list[float], p: list[float]) -> float:
    """Equation 6 over a set of positions."""
    terms = [p_j * _log_q(f_j) + (1 - p_j) * _log_not_q(f_j) for f_j, p_j in zip(f, p, strict=True)]
    return -sum(terms) / len(terms)


def _hybrid(f: list[float], p: list[float]) -> float:
    """Equations 7 and 8 over a set of positions."""
    positive = [(f_j, p_j) for f_j, p_j in zip(f, p, strict=True) if p_j > 0.001]
    negative = [f_j for f_j, p_j in zip(f, p, strict=True) if p_j <= 0.001]
    enhance = -sum(p_j * _log_q(f_j) for f_j, p_j in positive) / len(positive) if positive else 0.0
    constrain = -sum(_log_not_q(f_j) for f_j in negative) / len(negative) if negative else 0.0
    return enhance + constrain


EQUATIONS: dict[str, Callable[[list[float], list[float]], float]] = {"cross_entropy": _cross_entropy, "hybrid": _hybrid}


def _reference(kind: str, f: np.ndarray, p: np.ndarray, labels: np.ndarray, absent: str) -> float:
    total = 0.0
    for image in range(len(f)):
        p_image = np.where(labels[image][:, None, None] > 0, p[image], 0.0)
        if absent == "negative":
            total += EQUATIONS[kind](f[image].ravel().tolist(), p_image.ravel().tolist())
        else:
            for c in range(len(p_image)) if absent == "constrain" else np.flatnonzero(labels[image]):
                total += EQUATIONS[kind](f[image, c].ravel().tolist(), p_image[c].ravel().tolist())
    return total / len(f)


def _example(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five images: several classes, none, one that is attended nowhere, one that is attended everywhere."""
    random = np.random.default_rng(seed)
    f, p = random.normal(size=(5, 4, 3, 5)) * 6, random.random(size=(5, 4, 3, 5))
    p[random.random(p.shape) < 0.4] = 0.0
    p[random.random(p.shape) < 0.05] = 0.001
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=float)
    p[2, 1], p[3, 3] = 0.0, np.clip(p[3, 3], 0.01, 1)
    return f, p, labels


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_are_the_equations(kind: str, absent: Any, seed: int) -> None:
    f, p, labels = _example(seed)
    given = torch.tensor(f, requires_grad=True)
    loss = LOSSES[kind](given, torch.tensor(p), torch.tensor(labels), absent=absent)
    assert loss.item() == pytest.approx(_reference(kind, f, p, labels, absent), rel=1e-12)
    loss.backward()
    assert given.grad is not None
    numeric = np.zeros_like(f)
    for location in np.ndindex(f.shape):
        high, low = f.copy(), f.copy()
        high[location] += 1e-5
        low[location] -= 1e-5
        # One image's own term changes: the others' would only add their rounding.
        rows = slice(location[0], location[0] + 1)
        difference = [_reference(kind, x[rows], p[rows], labels[rows], absent) for x in (high, low)]
        numeric[location] = (difference[0] - difference[1]) / 2e-5 / len(f)
    np.testing.assert_allclose(given.grad.numpy(), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("kind", LOSSES)
def test_single_precision_and_extreme_scores_stay_exact(kind: str, absent: Any) -> None:
    f, p, labels = _example(7)
    f = f * 100  # where log(sigmoid) itself is minus infinity
    given = torch.tensor(f, dtype=torch.float32, requires_grad=True)
    loss = LOSSES[kind](given, torch.tensor(p, dtype=torch.float32), torch.tensor(labels), absent=absent)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_reference(kind, f, p, labels, absent), rel=1e-5)
    assert given.grad is not None
    assert bool(given.grad.isfinite().all())


def test_ignored_classes_have_no_gradient_and_negative_ones_do() -> None:
    f, p, labels = (torch.tensor(value) for value in _example(0))
    absent_BC = labels == 0
    for loss in LOSSES.values():
        for absent in ABSENT:
            given = f.clone().requires_grad_()
            loss(given, p, labels, absent=absent).backward()
            assert given.grad is not None
            moved_BC = given.grad.abs().amax(dim=(2, 3)) > 0
            assert bool(moved_BC[absent_BC].any()) == (absent != "ignore")


def test_the_hybrid_loss_never_pulls_an_attended_position_down() -> None:
    f, p, labels = (torch.tensor(value) for value in _example(1))
    given = f.clone().requires_grad_()
    integral_hybrid(given, p, labels).backward()
    assert given.grad is not None
    attended = (p > 0.001) & (labels[..., None, None] > 0)
    assert bool((given.grad[attended] <= 0).all())
    assert bool((given.grad[~attended] >= 0).all())


@pytest.mark.parametrize("loss", LOSSES.values())
def test_what_does_not_fit_is_refused(loss: Callable[..., torch.Tensor]) -> None:
    f, p, labels = (torch.tensor(value) for value in _example(0))
    assert loss(f[:0], p[:0], labels[:0]).item() == 0
    for wrong in ((f[0], p[0], labels), (f, p[:, :3], labels), (f, p, labels[:, :3]), (f.long(), p, labels)):
        with pytest.raises(ValueError, match="must"):
            loss(*wrong)
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            loss(f, torch.full_like(p, bad), labels)
