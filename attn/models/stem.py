"""A first convolution whose gradient with respect to the image is computed faster on a CPU.

GAIN's second pass needs this gradient; plain classification does not. With only three channels, PyTorch takes three
times as long for it as for the forward pass. With stride 2, each of the image's 2×2 phases uses its own taps of the
kernel. So the gradients of all four phases are one convolution of the incoming gradient with 4·3 output channels, in
half the time. `benchmarks/step_cost.py` measures the effect on a step.

Shapes: B images, C input channels, K output channels, H×W input, h×w output, k×k kernel.
"""

from __future__ import annotations

__all__ = ["Stem", "quick_gradient"]

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Stem(nn.Conv2d):
    """A convolution of stride 2 with the same results as `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        plain = not (torch.is_grad_enabled() and input.requires_grad) or torch.is_autocast_enabled(input.device.type)
        if plain or input.device.type != "cpu":
            return super().forward(input)
        return _Phased.apply(input, self.weight, self.bias, int(self.padding[0]))  # pyright: ignore[reportReturnType]


def quick_gradient(convolution: nn.Module) -> nn.Module:
    """Turn a suitable convolution into a `Stem` with the same parameters; return any other module unchanged."""
    if type(convolution) is not nn.Conv2d or isinstance(convolution.padding, str):
        return convolution
    side, pad = convolution.kernel_size[0], convolution.padding[0]
    square = convolution.kernel_size == (side, side) and convolution.padding == (pad, pad)
    usual = convolution.dilation == (1, 1) and convolution.groups == 1 and convolution.padding_mode == "zeros"
    if not (square and usual and convolution.stride == (2, 2)):
        return convolution
    stem = Stem(
        convolution.in_channels,
        convolution.out_channels,
        side,
        stride=2,
        padding=pad,
        bias=convolution.bias is not None,
        device="meta",
    )
    stem.weight, stem.bias = convolution.weight, convolution.bias
    return stem


class _Phased(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image_BCHW: Tensor, weight_KCkk: Tensor, bias_K: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(image_BCHW, weight_KCkk)
        ctx.padding = padding
        return functional.conv2d(image_BCHW, weight_KCkk, bias_K, stride=2, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (grad_BKhw,), (image_BCHW, weight_KCkk) = grad_outputs, ctx.saved_tensors
        of_image = None
        if ctx.needs_input_grad[0]:
            of_image = _image_gradient(grad_BKhw, weight_KCkk, ctx.padding, (image_BCHW.shape[2], image_BCHW.shape[3]))
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            grad_BKhw, image_BCHW, weight_KCkk, [len(weight_KCkk)], [2, 2], [ctx.padding] * 2, [1, 1], False, [0, 0], 1,
            [False, *ctx.needs_input_grad[1:3]],
        )  # fmt: skip
        return of_image, of_weight, of_bias, None


def _image_gradient(grad_BKhw: Tensor, weight_KCkk: Tensor, padding: int, size: tuple[int, int]) -> Tensor:
    """Pixel 2i + p of a row contributes to output i + d through tap t, where t = p + padding - 2d."""
    K, C, side = weight_KCkk.shape[:3]
    taps = [(p, t, (p + padding - t) // 2) for p in (0, 1) for t in range(side) if (p + padding - t) % 2 == 0]
    first, last = min(d for _, _, d in taps), max(d for _, _, d in taps)
    kernel = weight_KCkk.new_zeros((C, 2, 2, K, last - first + 1, last - first + 1))
    for p, t, d in taps:
        for q, u, e in taps:
            kernel[:, p, q, :, d - first, e - first] = weight_KCkk[:, :, t, u].T
    halves = [-(-length // 2) for length in size]
    (top, left), (bottom, right) = (-first, -first), (
        half - 1 + last - (length - 1) for half, length in zip(halves, grad_BKhw.shape[2:], strict=True)
    )  # fmt: skip
    padded = functional.pad(grad_BKhw, (left, right, top, bottom))
    phases = functional.conv2d(padded, kernel.flatten(0, 2))
    return functional.pixel_shuffle(phases, 2)[:, :, : size[0], : size[1]]
