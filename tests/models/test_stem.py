"""The first convolution's own gradients are those of the library, in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from attn.models import ModelConfig
from attn.models.stem import Stem, quick_gradient


@pytest.mark.parametrize(("kernel", "padding"), [(7, 3), (3, 1), (3, 0), (5, 1), (1, 0), (4, 2)])
@pytest.mark.parametrize("size", [(16, 16), (15, 16), (17, 9), (9, 14)])
def test_gradients_are_those_of_the_plain_convolution(kernel: int, padding: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, kernel, stride=2, padding=padding).double()
    stem = quick_gradient(copy.deepcopy(plain))
    assert isinstance(stem, Stem)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for convolution in (plain, stem):
        input = image.clone().requires_grad_()
        output = convolution(input)
        (output * torch.linspace(-1, 1, output.numel(), dtype=torch.float64).reshape(output.shape)).sum().backward()
        results.append([output.detach(), *(leaf.grad for leaf in (input, *convolution.parameters()))])
    for expected, item in zip(*results, strict=True):
        torch.testing.assert_close(item, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1"])
def test_networks_have_one_and_keep_their_parameters(name: str) -> None:
    network = ModelConfig(name=name, weights=None).build(2)
    stems = [module for module in network.modules() if isinstance(module, Stem)]
    assert len(stems) == 1
    assert stems[0].in_channels == 3
    assert not any(parameter.is_meta for parameter in network.parameters())


def test_other_modules_stay() -> None:
    for module in (
        nn.ReLU(),
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 4, 3, stride=2, dilation=2),
        nn.Conv2d(3, 6, 3, 2, groups=3),
    ):
        assert quick_gradient(module) is module


def test_second_derivatives_are_right_too() -> None:
    torch.manual_seed(0)
    stem = quick_gradient(nn.Conv2d(2, 3, 3, stride=2, padding=1).double())
    image = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(stem, image)
