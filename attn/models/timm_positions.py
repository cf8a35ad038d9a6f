"""Position embeddings of timm's transformers, of another grid of patches than the network's.

Shapes: N patches, M class and register tokens with a position, K channels.
"""

from __future__ import annotations

__all__ = ["POSITIONS", "resampled", "side_of"]

from math import isqrt
from typing import Any

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

POSITIONS = "pos_embed"


def side_of(given_1NK: Tensor, net: nn.Module) -> int | None:
    """Patches of a side of the square grid that position embeddings are of; None if they fit the network or never will.

    Args:
        given_1NK: Of M + N tokens, from a state dict.
    """
    own, (height, width) = getattr(net, POSITIONS, None), _grid(net)
    if not isinstance(own, Tensor) or own.ndim != 3 or given_1NK.ndim != 3 or not height * width:
        return None
    if given_1NK.shape == own.shape or (given_1NK.shape[0], given_1NK.shape[2]) != (own.shape[0], own.shape[2]):
        return None
    patches = given_1NK.shape[1] - (own.shape[1] - height * width)
    side = isqrt(max(patches, 0))
    return side if side and side**2 == patches else None


def resampled(given_1NK: Tensor, net: nn.Module) -> tuple[Tensor, str] | None:
    """Position embeddings interpolated to the network's grid as timm does, and a message; None as `side_of`."""
    side, (height, width) = side_of(given_1NK, net), _grid(net)
    if side is None:
        return None
    others = given_1NK.shape[1] - side**2
    result = resample_abs_pos_embed(given_1NK, [height, width], [side, side], num_prefix_tokens=others)
    return result, f"position embeddings of {side}x{side} patches are interpolated to {height}x{width}"


def _grid(net: nn.Module) -> tuple[int, int]:
    embed: Any = getattr(net, "patch_embed", None)
    return getattr(embed, "grid_size", None) or (0, 0)
