"""timm's layers with SAME padding compute the same while they are exported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.std_conv import ScaledStdConv2dSame, StdConv2dSame
from torch import nn

from attn.models.same_padding import pad_traceably

LAYERS: dict[str, Any] = {
    "kernel 3": lambda: Conv2dSame(3, 4, 3, stride=2),
    "kernel 5, dilated": lambda: Conv2dSame(3, 4, 5, stride=(2, 3), dilation=2),
    "even kernel": lambda: Conv2dSame(3, 4, 4, stride=3),
    "kernel below the stride": lambda: Conv2dSame(3, 4, (1, 2), stride=4),
    "stride 1": lambda: Conv2dSame(3, 4, 4),
    "average": lambda: AvgPool2dSame(3, stride=2),
    "largest": lambda: MaxPool2dSame(3, stride=2),
    "standardised": lambda: StdConv2dSame(3, 4, 3, stride=2),
    "standardised and scaled": lambda: ScaledStdConv2dSame(3, 4, 3, stride=2, padding="SAME"),
    "padded by a constant": lambda: ScaledStdConv2dSame(3, 4, 3, stride=1, padding="SAME"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_it_computes_what_timm_computes(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    timms = LAYERS[layer]().eval()
    ours = nn.Sequential(LAYERS[layer]()).eval()
    ours[0].load_state_dict(timms.state_dict())
    pad_traceably(ours)
    for height in range(5, 14):
        images = torch.randn(1, 3, height, 2 * height - 5) - 3  # the largest of a window is not the padding
        expected = timms(images)
        assert torch.equal(ours(images), expected)
        with monkeypatch.context() as exporting:
            exporting.setattr(torch.compiler, "is_exporting", lambda: True)
            torch.testing.assert_close(ours(images), expected)


def test_pools_that_round_up_stay_timms() -> None:
    """A larger input could give them one more window."""
    pools = nn.Sequential(MaxPool2dSame(3, stride=2, ceil_mode=True), AvgPool2dSame(3, stride=2, ceil_mode=True))
    pad_traceably(pools)
    assert [type(pool) for pool in pools] == [MaxPool2dSame, AvgPool2dSame]
