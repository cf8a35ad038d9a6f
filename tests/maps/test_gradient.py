"""Maps by gradient: what they touch, what they refuse, and how many backward passes they need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attn.maps import channel_attention, grad_cam, pixel_attention

GradientMap = Callable[..., Tensor]
KINDS = [grad_cam, channel_attention, pixel_attention]


class Scene:
    """A layer with parameters below and above it."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.below = nn.Conv2d(3, 6, 3, dtype=dtype)
        self.above = nn.Sequential(nn.Conv2d(6, 5, 2), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 16, 4)).to(dtype)
        self.features = self.below(torch.randn(3, 3, 7, 7, dtype=dtype)).relu()
        self.scores = self.above(self.features)


PAIRS = torch.tensor([[2, 1], [0, 3], [2, 0], [2, 3], [0, 0]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept_and_maps_are_not_negative(kind: GradientMap, dtype: torch.dtype) -> None:
    scene = Scene(dtype)
    maps = kind(scene.scores, scene.features, PAIRS)
    assert maps.dtype == dtype
    assert maps.shape == (5, 5, 5)
    assert bool((maps >= 0).all())
    assert maps.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_parameter_gets_a_gradient_from_computing_a_map(kind: GradientMap) -> None:
    scene = Scene()
    kind(scene.scores, scene.features, PAIRS, weight_gradient=True)
    assert all(p.grad is None for part in (scene.below, scene.above) for p in part.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_a_map_reaches_above_only_through_the_weights(kind: GradientMap) -> None:
    scene = Scene()
    kind(scene.scores, scene.features, PAIRS).sum().backward(retain_graph=True)
    assert scene.below.weight.grad is not None
    assert scene.below.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in scene.above.parameters())
    kind(scene.scores, scene.features, PAIRS, weight_gradient=True).sum().backward()
    reached = [p.grad is not None and float(p.grad.abs().sum()) > 0 for p in scene.above.parameters()]
    assert any(reached)


@pytest.mark.parametrize("kind", KINDS)
def test_backward_passes_are_as_many_as_the_classes_of_one_image(
    kind: GradientMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, calls, real = Scene(), [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    kind(scene.scores, scene.features, PAIRS)
    assert len(calls) == 3
    kind(scene.scores, scene.features, PAIRS[:0])
    assert len(calls) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_company_of_pairs_do_not_matter(kind: GradientMap) -> None:
    scene = Scene(torch.float64)
    together = kind(scene.scores, scene.features, PAIRS)
    for pair, expected in zip(PAIRS, together, strict=True):
        torch.testing.assert_close(kind(scene.scores, scene.features, pair[None])[0], expected)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(kind(scene.scores, scene.features, PAIRS[order]), together[order])
    doubled = kind(scene.scores, scene.features, torch.cat([PAIRS, PAIRS]))
    torch.testing.assert_close(doubled, torch.cat([together, together]))


@pytest.mark.parametrize("kind", KINDS)
def test_no_pairs_no_maps(kind: GradientMap) -> None:
    scene = Scene()
    assert kind(scene.scores, scene.features, PAIRS[:0]).shape == (0, 5, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind: GradientMap) -> None:
    scene = Scene()
    scores, features = scene.scores, scene.features
    with pytest.raises(ValueError, match=r"\(3, 6, 25\)"):
        kind(scores, features.flatten(2), PAIRS)
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        kind(scores[:2], features, PAIRS)
    with pytest.raises(ValueError, match="int64"):
        kind(scores, features.long(), PAIRS)
    with pytest.raises(ValueError, match="class must lie"):
        kind(scores[:, :2], features, PAIRS)
    with pytest.raises(ValueError, match="gradients enabled"):
        kind(scores.detach(), features, PAIRS)
    with pytest.raises(ValueError, match="one forward pass"):
        kind(scores, features + 0, PAIRS)
