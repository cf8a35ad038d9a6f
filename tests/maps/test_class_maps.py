"""Class maps, normalisation and size of maps."""

from __future__ import annotations

import pytest
import torch

from attn.maps import class_activation, normalize_max, upsample


def test_class_activation_picks_and_rectifies() -> None:
    class_maps = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]], [[[-5.0, 6.0]], [[0.0, 7.0]]]])
    pairs = torch.tensor([[1, 0], [0, 1], [0, 0]])
    assert class_activation(class_maps, pairs).tolist() == [[[0, 6]], [[3, 4]], [[1, 0]]]
    assert class_activation(class_maps, pairs[:0]).shape == (0, 1, 2)


def test_class_activation_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        class_activation(torch.zeros(2, 3, 4), torch.tensor([[0, 0]]))
    with pytest.raises(ValueError, match="int64"):
        class_activation(torch.zeros(2, 3, 4, 4, dtype=torch.int64), torch.tensor([[0, 0]]))
    with pytest.raises(ValueError, match=r"\[0, 3\), not 3 to 3"):
        class_activation(torch.zeros(2, 3, 4, 4), torch.tensor([[0, 3]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_map_is_divided_by_its_own_maximum(dtype: torch.dtype) -> None:
    maps = torch.tensor([[[0, 2], [1, 4]], [[0, 0], [0, 0]], [[1e-7, 0], [5e-8, 0]]], dtype=dtype)
    normal = normalize_max(maps)
    assert normal.dtype == dtype
    assert normal.amax(dim=(1, 2)).tolist() == [1, 0, 1]
    assert normal[0].tolist() == [[0, 0.5], [0.25, 1]]


@pytest.mark.parametrize("peak", [0.0, 1e-45, 1e-40, 1e-30])
def test_an_empty_or_faint_map_gives_no_nan_in_value_or_gradient(peak: float) -> None:
    maps = torch.zeros(1, 3, 3)
    maps[0, 1, 1] = peak
    maps[0, 0, 0] = peak
    maps.requires_grad_()
    normal = normalize_max(maps)
    normal.square().sum().backward()
    assert normal.max().item() == (1 if peak else 0)
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_nan_is_not_hidden() -> None:
    assert bool(normalize_max(torch.full((1, 2, 2), torch.nan)).isnan().all())


@pytest.mark.parametrize("bad", [torch.zeros(2, 3), torch.zeros(2, 0, 3), torch.zeros(2, 3, 3, dtype=torch.int32)])
def test_only_floating_maps_are_scaled(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="maps must"):
        normalize_max(bad)
    with pytest.raises(ValueError, match="maps must"):
        upsample(bad, (4, 4))


def test_no_maps_stay_no_maps() -> None:
    assert normalize_max(torch.zeros(0, 2, 2)).shape == (0, 2, 2)
    assert upsample(torch.zeros(0, 2, 2), (5, 7)).shape == (0, 5, 7)


def test_corners_are_not_aligned() -> None:
    assert upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4)).tolist() == [[[0, 1, 3, 4]]]
