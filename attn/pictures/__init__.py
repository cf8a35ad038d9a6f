"""Pictures of attention maps and masks: overlays, panels, comparisons, curves."""

from __future__ import annotations

__all__ = ["PanelData", "Picture", "class_colors", "comparison", "growth", "overlay", "panel", "sheet", "voc_palette"]

from attn.pictures.comparison import comparison
from attn.pictures.layout import Picture
from attn.pictures.overlay import overlay
from attn.pictures.palette import class_colors, voc_palette
from attn.pictures.panel import growth, panel, sheet
from attn.pictures.tiles import PanelData
