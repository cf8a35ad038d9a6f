"""A trained model of whatever task."""

from __future__ import annotations

__all__ = ["open_any"]

import json
from pathlib import Path
from typing import TYPE_CHECKING

from attn.models.bundle import Bundle, describing, find_bundle, load_bundle, task_of

if TYPE_CHECKING:
    from attn.segmentation.bundle import Segmenter


def open_any(target: str | Path, root: str = "runs") -> Bundle | Segmenter:
    """Open a trained classifier or segmentation network on the CPU.

    Args:
        target: A bundle's folder, a run's folder, or a run's id below the root.

    Raises:
        WeightsError: There is none, it is damaged, or it was written by a newer format.
    """
    folder = find_bundle(str(target), root)
    with describing(folder):
        task = task_of(json.loads((folder / "model.json").read_text(encoding="utf-8")))
    if task == "segmentation":
        from attn.segmentation.bundle import load_segmenter

        return load_segmenter(folder)
    return load_bundle(folder)
