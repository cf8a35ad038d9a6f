"""Refuses a method whose maps presume features after ReLU, on a network whose features have negative values."""

from __future__ import annotations

__all__ = ["check_rectified"]

import torch

from attn.errors import ConfigError
from attn.methods.base import Method
from attn.models.network import Network


def check_rectified(network: Network, method: Method, size: tuple[int, int]) -> None:
    """Compute the features of noise, and refuse negative ones in a layer whose map is of the kind `channel`.

    A_ch (ICASC eq. 3-4) adds features with weights of 0 and more. It shows where a class is only if the features are
    not negative; otherwise it is 0 at many positions, and may be 0 everywhere after some training.

    Args:
        network: With its initial weights. Its modes, statistics and the random numbers of PyTorch stay as they are.
        size: Height and width of an input that it takes.

    Raises:
        ConfigError: A layer has negative features.
    """
    if method.map_kind != "channel":
        return
    device = next(network.parameters()).device
    noise_1CHW = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            features = network.eval().features(noise_1CHW)
    finally:
        for module, mode in modes.items():
            module.training = mode
    for layer in dict.fromkeys((*method.layers, method.layer)):
        negative = float((features[layer] < 0).float().mean())
        if negative:
            name = network.config.name
            raise ConfigError(
                f"method.map_kind=channel needs features after ReLU, and {negative:.0%} of those of {name} at layer "
                f"{layer!r} are negative: set method.map_kind=pixel, or model.name to a network with ReLU"
            )
