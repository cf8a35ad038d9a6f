"""Opens a trained model of any task."""

from __future__ import annotations

__all__ = ["open_any"]

from pathlib import Path
from typing import TYPE_CHECKING

from attn.models.bundle import Bundle, find_bundle, load_bundle, pipeline_network
from attn.models.description import read_description, task_of

if TYPE_CHECKING:
    from attn.segmentation.bundle import Segmenter


def open_any(target: str | Path, root: str = "runs") -> Bundle | Segmenter:
    """Open a trained classifier or segmentation network on the CPU.

    Args:
        target: A bundle's folder, a run's folder, or a run's id below the root. A pipeline that is done stands for its
            segmentation network.

    Raises:
        WeightsError: There is none, it is damaged, or its format is newer.
    """
    folder = find_bundle(str(pipeline_network(str(target), root) or target), root)
    if task_of(read_description(folder)) == "segmentation":
        from attn.segmentation.bundle import load_segmenter

        return load_segmenter(folder)
    return load_bundle(folder)
