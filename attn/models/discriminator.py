"""The domain discriminator of AttnBN (Li et al., ICCV 2019), which separates source features from target features.

Shapes: B images, K channels, h×w feature map, H×W the map upsampled, Q×P the first convolution's output, O channels.
"""

from __future__ import annotations

__all__ = ["Discriminator"]

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = 5
WIDTHS = (64, 128, 256, 512, 1)
KERNEL, STRIDE, PADDING = 4, 2, 1
SLOPE = 0.2
LEAST_SIDE = STRIDE ** len(WIDTHS)


class Discriminator(nn.Module):
    """Five 4×4 convolutions of stride 2 with leaky ReLU between them, on features upsampled bilinearly by 5.

    Upsampling and the first convolution are both linear, and only the convolution mixes channels. So channels are mixed
    at the original resolution, which has 25 times fewer positions, and the result is then interpolated. This is the
    same function with about a sixth of the operations.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        before = channels
        self.convolutions = nn.ModuleList()
        for width in WIDTHS:
            self.convolutions.append(nn.Conv2d(before, width, KERNEL, stride=STRIDE, padding=PADDING))
            before = width

    def forward(self, features_BKhw: Tensor) -> Tensor:
        """Logits (B, 1, h', w') of the probability that the features are source features.

        Features that are too small for five halvings are upsampled by more than 5, to at least 32 positions.
        """
        first, *others = self.convolutions
        assert isinstance(first, nn.Conv2d)
        x = _upsampled_convolution(features_BKhw, first.weight, first.bias)
        for convolution in others:
            x = convolution(functional.leaky_relu(x, SLOPE))
        return x


def _upsampled_convolution(features_BKhw: Tensor, weight_OKyx: Tensor, bias_O: Tensor | None) -> Tensor:
    """The first convolution applied to upsampled features, without computing these."""
    batch, channels, height, width = features_BKhw.shape
    scale = max(SCALE, math.ceil(LEAST_SIDE / min(height, width)))
    taps_Kn = weight_OKyx.permute(1, 3, 2, 0).reshape(channels, -1)
    mixed_bwn = features_BKhw.permute(0, 2, 3, 1).reshape(batch * height, width, channels) @ taps_Kn
    columns_Pwx = _readings(width, scale, mixed_bwn).flatten(1)
    across_BhPyO = (columns_Pwx @ mixed_bwn.view(batch * height, width * KERNEL, -1)).view(
        batch, height, -1, KERNEL, len(weight_OKyx)
    )
    out_BOQP = torch.einsum("bhpyo,qhy->boqp", across_BhPyO, _readings(height, scale, mixed_bwn))
    return out_BOQP if bias_O is None else out_BOQP + bias_O.to(out_BOQP.dtype)[:, None, None]


def _readings(side: int, scale: int, like: Tensor) -> Tensor:
    """Interpolation weights (output, position, tap) along one side of the features."""
    exact = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(side, dtype=exact, device=like.device)[None]
    upsampled_Hh = functional.interpolate(identity, scale_factor=scale, mode="linear", align_corners=False)[0].T
    padded = functional.pad(upsampled_Hh, (0, 0, PADDING, PADDING))
    return padded.unfold(0, KERNEL, STRIDE).to(like.dtype)
