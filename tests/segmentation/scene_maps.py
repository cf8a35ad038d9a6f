"""Cues of a few scenes, of maps that are the classes' own pixels."""

from __future__ import annotations

__all__ = ["GRID", "labels_of", "made", "true_maps"]

from pathlib import Path

import numpy as np

from attn.data.source import Source
from attn.models.bundle import load_bundle
from attn.segmentation.cue_saliency import cue_saliency
from attn.segmentation.labels import CueLabels
from attn.segmentation.make import CueReport, make_cues
from attn.segmentation.map_sources import MapSourceConfig

GRID = (8, 8)
"""Of the maps; scenes have five times as many pixels a side."""


def true_maps(source: Source, index: int) -> dict[int, np.ndarray]:
    """The class's own pixels, on the grid of a store."""
    mask = source.load(index).mask
    assert mask is not None
    small = mask.reshape(GRID[0], 5, GRID[1], 5)
    return {c: (small == c + 1).mean((1, 3)) for c in source.records[index].labels}


def made(source: Source, config: CueLabels, folder: Path, *, show: tuple[int, ...] = ()) -> CueReport:
    """Cues in a folder; saliency is kept in `runs` in it."""

    def write(name: str, data: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    saliency = cue_saliency(source, config, str(folder / "runs"))
    return make_cues(source, saliency, config.maps.open(load_bundle), config, write, threads=2, show=show)


def labels_of(maps: MapSourceConfig, **options: object) -> CueLabels:
    return CueLabels(maps=maps, **options)
