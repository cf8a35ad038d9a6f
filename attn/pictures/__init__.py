"""Pictures of attention maps: overlays, panels, comparisons, curves. Uses NumPy, PIL and OpenCV only."""

from __future__ import annotations

__all__ = ["PanelData", "Picture", "colored", "comparison", "growth", "overlay", "panel", "sheet", "voc_palette"]

from attn.pictures.layout import Picture
from attn.pictures.overlay import overlay
from attn.pictures.palette import colored, voc_palette
from attn.pictures.panel import PanelData, comparison, growth, panel, sheet
