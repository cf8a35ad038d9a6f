"""Search spaces of sweeps, their points, and the file that describes them."""

from __future__ import annotations

__all__ = ["Dimension", "Objective", "SweepConfig", "load_sweep"]

from attn.runs.sweep.config import Objective, SweepConfig
from attn.runs.sweep.load import load_sweep
from attn.runs.sweep.space import Dimension
