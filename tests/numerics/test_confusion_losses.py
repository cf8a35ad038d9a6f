"""ICASC's losses and their gradients against equations 6 to 8, written out in double-precision NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attn.losses import attention_consistency, confusing_class, soft_iou, target_mask

SEEDS = range(4)


def _maps(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target, confusing and mask, (4, 3, 5) each; the third image's maps are zero everywhere."""
    random = np.random.default_rng(seed)
    target, confusing = np.maximum(random.normal(size=(2, 4, 3, 5)), 0) * random.uniform(0.01, 30, size=(2, 4, 1, 1))
    target[2], confusing[2] = 0, 0
    return target, confusing, random.random(size=(4, 3, 5))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("scale", "fraction"), [(100.0, 0.55), (3.0, 0.2)])
def test_target_mask(seed: int, scale: float, fraction: float) -> None:
    maps = np.random.default_rng(seed).random(size=(3, 4, 5)) * np.array([0.1, 1, 7])[:, None, None]
    given = torch.tensor(maps, requires_grad=True)
    mask = target_mask(given, scale=scale, fraction=fraction)
    upstream = np.random.default_rng(seed + 50).normal(size=maps.shape)
    mask.backward(torch.tensor(upstream))
    expected, gradient = np.empty_like(maps), np.empty_like(maps)
    for row, one in enumerate(maps):
        sigma = fraction * one.max()
        expected[row] = 1 / (1 + np.exp(-scale * (one - sigma)))
        slope = upstream[row] * scale * expected[row] * (1 - expected[row])
        gradient[row] = slope - fraction * slope.sum() * (one == one.max())
    np.testing.assert_allclose(mask.detach().numpy(), expected, rtol=1e-11)
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), gradient, rtol=1e-9, atol=1e-12)


def test_target_masks_defaults_are_the_papers() -> None:
    maps = torch.rand(2, 3, 3, dtype=torch.float64)
    assert torch.equal(target_mask(maps), target_mask(maps, scale=100, fraction=0.55))


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_iou(seed: int) -> None:
    target, confusing, mask = _maps(seed)
    given = [torch.tensor(value, requires_grad=True) for value in (target, confusing, mask)]
    loss = soft_iou(*given)
    loss.backward()
    values, gradients = [], [np.zeros_like(target) for _ in given]
    for row in range(4):
        whole = (target[row] + confusing[row]).sum()
        shared = 2 * (np.minimum(target[row], confusing[row]) * mask[row]).sum()
        values.append(shared / whole if whole else 0.0)
        if whole:
            # Where both are equal (zero, here), each takes half of the minimum's gradient.
            half = 0.5 * (target[row] == confusing[row])
            for index, (own, other) in enumerate(((target, confusing), (confusing, target))):
                share = (own[row] < other[row]) + half
                gradients[index][row] = (2 * share * mask[row] * whole - shared) / whole**2 / 4
            gradients[2][row] = 2 * np.minimum(target[row], confusing[row]) / whole / 4
    assert loss.item() == pytest.approx(np.mean(values), rel=1e-12)
    assert values[2] == 0
    for tensor, gradient in zip(given, gradients, strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-9, atol=1e-14)


def test_soft_iou_lies_between_nothing_and_all_in_common() -> None:
    one, ones = torch.rand(2, 4, 4, dtype=torch.float64), torch.ones(2, 4, 4, dtype=torch.float64)
    assert soft_iou(one, one, ones).item() == pytest.approx(1.0)
    assert soft_iou(one, torch.zeros_like(one), ones).item() == 0
    assert soft_iou(3 * one, 3 * one, ones).item() == pytest.approx(1.0)
    left, right = one.clone(), one.clone()
    left[:, :, 2:], right[:, :, :2] = 0, 0
    assert soft_iou(left, right, ones).item() == 0


def test_each_image_counts_by_itself() -> None:
    """A port that pools over the batch lets an image with large maps drown the others."""
    target, confusing, mask = (torch.tensor(value) for value in _maps(0))
    alone = [soft_iou(target[i : i + 1], confusing[i : i + 1], mask[i : i + 1]) for i in range(4)]
    assert soft_iou(target, confusing, mask).item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-12)
    big = target.clone()
    big[0] *= 1000
    masks = target_mask(torch.cat([target[1:2], big[:1]]), scale=10)
    torch.testing.assert_close(masks[:1], target_mask(target[1:2], scale=10))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alpha", [1.0, 0.8])
def test_attention_consistency(seed: int, alpha: float) -> None:
    inner, _, mask = _maps(seed)
    given = torch.tensor(inner, requires_grad=True), torch.tensor(mask, requires_grad=True)
    loss = attention_consistency(*given, alpha=alpha)
    loss.backward()
    values, of_inner, of_mask = [], np.zeros_like(inner), np.zeros_like(inner)
    for row in range(4):
        whole, within = inner[row].sum(), (inner[row] * mask[row]).sum()
        values.append(alpha - (within / whole if whole else 0.0))
        if whole:
            of_inner[row] = -(mask[row] * whole - within) / whole**2 / 4
            of_mask[row] = -inner[row] / whole / 4
    assert loss.item() == pytest.approx(np.mean(values), rel=1e-12)
    assert values[2] == alpha
    for tensor, gradient in zip(given, (of_inner, of_mask), strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_confusing_class(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(6, 5)), random.integers(0, 2, size=(6, 5))
    labels[:, 3] = 0
    result = confusing_class(torch.tensor(logits), torch.tensor(labels))
    absent = [[c for c in range(5) if not labels[row, c]] for row in range(6)]
    assert result.tolist() == [max(classes, key=lambda c: logits[row, c]) for row, classes in enumerate(absent)]
    assert result.dtype == torch.int64


def test_the_confusing_class_is_never_a_present_one() -> None:
    logits = torch.full((1, 3), -torch.inf)
    assert confusing_class(logits, torch.tensor([[1.0, 0, 0]])).item() in (1, 2)
    assert confusing_class(torch.tensor([[9.0, -torch.inf]]), torch.tensor([[1, 0]])).item() == 1
    with pytest.raises(ValueError, match=r"images \[1\] have all 2 classes"):
        confusing_class(torch.zeros(2, 2), torch.tensor([[1, 0], [1, 1]]))
    assert confusing_class(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)


def test_tiny_maps_give_no_infinite_gradient() -> None:
    for value in (1e-45, 1e-38, 1e-30):
        maps = torch.full((1, 2, 2), value, requires_grad=True)
        mask = torch.full((1, 2, 2), 0.5)
        (soft_iou(maps, maps.detach(), mask) + attention_consistency(maps, mask)).backward()
        assert maps.grad is not None
        assert maps.grad.isfinite().all()


def test_without_maps_the_losses_are_zero_and_in_a_graph() -> None:
    none = torch.zeros(0, 2, 2, requires_grad=True)
    for loss in (soft_iou(none, none, none), attention_consistency(none, none)):
        assert loss.item() == 0
        assert loss.requires_grad


def test_shapes_and_ranges_are_checked() -> None:
    maps, mask = torch.rand(2, 3, 3), torch.rand(2, 3, 3)
    with pytest.raises(ValueError, match=r"\(2, 3, 3\), \(1, 3, 3\), \(2, 3, 3\)"):
        soft_iou(maps, maps[:1], mask)
    with pytest.raises(ValueError, match="must not be negative"):
        soft_iou(maps, -maps, mask)
    with pytest.raises(ValueError, match=r"mask must be in \[0, 1\]"):
        attention_consistency(maps, mask + 1)
    with pytest.raises(ValueError, match=r"shape \(N, h, w\)"):
        attention_consistency(maps[0], mask[0])
    with pytest.raises(ValueError, match="fraction in"):
        target_mask(maps, fraction=1.5)
    with pytest.raises(ValueError, match="floating-point"):
        target_mask(torch.ones(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="alpha"):
        attention_consistency(maps, mask, alpha=float("nan"))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        confusing_class(torch.zeros(2, 3), torch.zeros(3, 2))
