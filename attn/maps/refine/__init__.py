"""Refinement of attention maps along what is seen in their image. Each file is one way to refine."""

from attn.maps.refine.affinity import AffinityConfig
from attn.maps.refine.base import RefinementConfig, Refiner, at_grid, is_joint, refine_by_class
from attn.maps.refine.crf import CrfRefinementConfig
from attn.maps.refine.pamr import PamrConfig, pamr

__all__ = [
    "AffinityConfig",
    "CrfRefinementConfig",
    "PamrConfig",
    "RefinementConfig",
    "Refiner",
    "at_grid",
    "is_joint",
    "pamr",
    "refine_by_class",
]
