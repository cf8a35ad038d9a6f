"""Masks in the file formats of annotation tools."""

from __future__ import annotations

__all__ = ["FORMATS", "AnnotationError", "ExportedMasks", "MaskedImage", "Region", "Shapes", "export_masks"]

from attn.annotations.export import FORMATS, AnnotationError, ExportedMasks, export_masks
from attn.annotations.format import Shapes
from attn.annotations.image import MaskedImage, Region
