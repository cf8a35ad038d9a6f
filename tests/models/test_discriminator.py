"""The discriminator is the plain network that the paper describes, computed in another order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from attn.models.discriminator import Discriminator


def literal(discriminator: Discriminator, features: Tensor, scale: int) -> Tensor:
    """Upsample, then five convolutions with leaky ReLU between them."""
    x = functional.interpolate(features, scale_factor=scale, mode="bilinear", align_corners=False)
    for number, convolution in enumerate(discriminator.convolutions):
        x = convolution(functional.leaky_relu(x, 0.2) if number else x)
    return x


@pytest.mark.parametrize(
    ("size", "scale", "out"),
    [((14, 14), 5, (2, 2)), ((7, 9), 5, (1, 1)), ((8, 13), 5, (1, 2)), ((2, 3), 16, (1, 1)), ((1, 1), 32, (1, 1))],
)
def test_value_and_gradients_are_those_of_upsampling_and_convolving(
    size: tuple[int, int], scale: int, out: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(3).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    result, expected = discriminator(features), literal(discriminator, features, scale)
    assert result.shape == (2, 1, *out)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)
    leaves = [features, *discriminator.parameters()]
    gradients = [torch.autograd.grad(value.square().sum(), leaves) for value in (result, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_layers_are_the_paper_s() -> None:
    layers = list(Discriminator(512).convolutions)
    assert [layer.out_channels for layer in layers] == [64, 128, 256, 512, 1]
    assert [type(layer) for layer in Discriminator(512).modules() if not list(layer.children())] == [nn.Conv2d] * 5
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in layers} == {((4, 4), (2, 2), (1, 1))}


def test_channels_last_and_half_precision_give_the_same() -> None:
    torch.manual_seed(0)
    discriminator, features = Discriminator(8), torch.randn(2, 8, 7, 7)
    expected = discriminator(features)
    torch.testing.assert_close(discriminator(features.to(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(discriminator(features).float(), expected, rtol=0.1, atol=0.02)
