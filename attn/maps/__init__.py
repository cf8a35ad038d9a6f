"""Attention maps for (image, class) pairs."""

from attn.maps.attention import MapKind, attention
from attn.maps.class_maps import class_activation, normalize_max, upsample
from attn.maps.combined import GradientMapKind, combined_attention
from attn.maps.gradient import channel_attention, grad_cam, pixel_attention
from attn.maps.pairs import pairs_of

__all__ = [
    "GradientMapKind",
    "MapKind",
    "attention",
    "channel_attention",
    "class_activation",
    "combined_attention",
    "grad_cam",
    "normalize_max",
    "pairs_of",
    "pixel_attention",
    "upsample",
]
