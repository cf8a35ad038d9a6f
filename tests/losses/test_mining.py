"""GAIN's losses at their edges: empty sets, shapes, layouts, ranges."""

from __future__ import annotations

import pytest
import torch

from attn.losses import attention_mining, erase, external_supervision, multilabel_soft_margin, soft_mask

PAIRS = torch.tensor([[0, 1], [2, 0], [2, 1]])


def test_classes_of_an_image_share_its_weight() -> None:
    # Image 0 has one class, image 2 two: (0.9 + (0.2 + 0.4) / 2) / 2.
    assert attention_mining(torch.tensor([0.9, 0.2, 0.4]), PAIRS).item() == pytest.approx(0.6)
    shuffled = attention_mining(torch.tensor([0.4, 0.9, 0.2]), PAIRS[[2, 0, 1]])
    assert shuffled.item() == pytest.approx(0.6)


def test_supervised_images_weigh_the_same() -> None:
    maps, targets = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
    targets[0] = 1
    maps[1, 0, 0] = 0.5
    # Image 0: 1. Image 2: (0.25 / 4 + 0) / 2.
    assert external_supervision(maps, targets, PAIRS).item() == pytest.approx((1 + 0.25 / 8) / 2)


def test_an_empty_set_is_a_zero_that_can_be_differentiated() -> None:
    scores = torch.zeros(0, requires_grad=True)
    loss = attention_mining(scores, PAIRS[:0])
    loss.backward()
    assert loss.item() == 0
    maps = torch.zeros(0, 2, 2, requires_grad=True)
    loss = external_supervision(maps, torch.zeros(0, 2, 2), PAIRS[:0])
    loss.backward()
    assert loss.item() == 0
    logits = torch.zeros(0, 3, requires_grad=True)
    assert multilabel_soft_margin(logits, torch.zeros(0, 3)).item() == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_erasing_keeps_the_memory_format(layout: torch.memory_format) -> None:
    images = torch.randn(3, 3, 4, 6).contiguous(memory_format=layout)
    erased = erase(images, torch.rand(3, 4, 6), PAIRS)
    assert erased.is_contiguous(memory_format=layout)
    assert erase(images, torch.zeros(0, 4, 6), PAIRS[:0]).shape == (0, 3, 4, 6)


def test_what_is_covered_becomes_the_mean_colour() -> None:
    images = torch.randn(3, 3, 4, 6)
    masks = torch.zeros(3, 4, 6)
    masks[:, :2] = 1
    erased = erase(images, masks, PAIRS)
    assert bool((erased[:, :, :2] == 0).all())
    assert bool((erased[:, :, 2:] == images[[0, 2, 2], :, 2:]).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    maps = torch.rand(3, 2, 2, dtype=dtype)
    assert soft_mask(maps, scale=10, threshold=0.5).dtype == dtype
    assert attention_mining(maps[:, 0, 0], PAIRS).dtype == dtype
    assert external_supervision(maps, (maps > 0.5), PAIRS).dtype == dtype
    assert erase(torch.rand(3, 3, 2, 2, dtype=dtype), maps, PAIRS).dtype == dtype
    assert multilabel_soft_margin(maps[0], torch.ones(2, 2)).dtype == dtype


def test_a_sharp_mask_neither_overflows_nor_loses_its_gradient_to_nan() -> None:
    maps = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    mask = soft_mask(maps, scale=1e5, threshold=0.5)
    mask.sum().backward()
    assert mask.tolist() == [0, 0.5, 1]
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_what_does_not_fit_is_refused() -> None:
    maps, images = torch.rand(3, 2, 2), torch.rand(3, 3, 2, 2)
    with pytest.raises(ValueError, match="not 0 and"):
        soft_mask(maps, scale=0, threshold=0.5)
    with pytest.raises(ValueError, match="nan"):
        soft_mask(maps, scale=1, threshold=float("nan"))
    with pytest.raises(ValueError, match="int64"):
        soft_mask(maps.long(), scale=1, threshold=0.5)
    with pytest.raises(ValueError, match=r"\(3, 2, 2\), one per pair, not \(3, 2, 3\)"):
        erase(images, torch.rand(3, 2, 3), PAIRS)
    with pytest.raises(ValueError, match=r"\(3, 2, 2\)"):
        erase(maps, maps, PAIRS)
    with pytest.raises(ValueError, match="image must lie"):
        erase(images[:2], maps, PAIRS)
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        attention_mining(torch.rand(3, 1), PAIRS)
    with pytest.raises(ValueError, match="2 values for 3 pairs"):
        attention_mining(torch.rand(2), PAIRS)
    with pytest.raises(ValueError, match="float32"):
        attention_mining(torch.rand(3), PAIRS.float())
    with pytest.raises(ValueError, match=r"\(3, 2, 2\) and \(3, 2, 3\)"):
        external_supervision(maps, torch.rand(3, 2, 3), PAIRS)
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        external_supervision(maps, torch.full((3, 2, 2), 255), PAIRS)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        multilabel_soft_margin(torch.rand(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="0 or 1"):
        multilabel_soft_margin(torch.rand(2, 3), torch.full((2, 3), 0.5))
