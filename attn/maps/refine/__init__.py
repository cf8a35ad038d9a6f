"""Refinement of attention maps along what is seen in their image. Each file is one way to refine."""

from attn.maps.refine.affinity import AffinityConfig
from attn.maps.refine.base import RefinementConfig, Refiner, peak_one, refine_by_class, resized
from attn.maps.refine.crf import CrfRefinementConfig
from attn.maps.refine.pamr import PamrConfig, pamr

__all__ = [
    "AffinityConfig",
    "CrfRefinementConfig",
    "PamrConfig",
    "RefinementConfig",
    "Refiner",
    "pamr",
    "peak_one",
    "refine_by_class",
    "resized",
]
