"""Panels of images with their attention maps: for one model, for several models, and over the epochs of a run."""

from __future__ import annotations

__all__ = ["PanelData", "comparison", "growth", "panel", "sheet"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.pictures.layout import Picture, Tile, grid
from attn.pictures.overlay import overlay
from attn.pictures.palette import colored

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PanelData:
    """An image with its maps, probabilities and masks, at the image's own size.

    Attributes:
        image: uint8 RGB (H, W, 3).
        maps: (H, W) in [0, 1] by class name, in the order to draw them.
        probabilities: Probabilities in [0, 1] by class name.
        truth: Mask of each class, bool (H, W) by class name, if known.
        mask: Ground-truth mask, uint8 (H, W) of indices, 255 void; None if there is none.
        predicted: A segmentation network's mask, likewise.
    """

    image_id: str
    image: Pixels
    maps: Mapping[str, NDArray[Any]]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    truth: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    mask: Pixels | None = None
    predicted: Pixels | None = None


def panel(data: PanelData, *, height: int = 200) -> Picture:
    """Draw one row: the image, the map of each class with name and probability, and the true mask in VOC's colours."""
    return grid([_tiles(data)], height=height)


def sheet(panels: Sequence[PanelData], *, height: int = 160) -> Picture:
    """Draw one row per image, with the true masks in the last column."""
    rows: list[list[Tile | None]] = [_tiles(one) for one in panels]
    columns = max(map(len, rows))
    for row, one in zip(rows, panels, strict=True):
        position = len(row) - (one.mask is not None)
        row[position:position] = [None] * (columns - len(row))
    return grid(rows, height=height)


def comparison(methods: Mapping[str, Sequence[PanelData]], *, height: int = 150) -> Picture:
    """Draw several methods on the same images: one column per (image, class), one row per method.

    The first row shows the images, the last rows the predicted masks and the true masks, if all images have them.

    Args:
        methods: Data by the method's name, each with the same images in the same order. Missing maps leave empty cells.

    Raises:
        ValueError: The images differ.
    """
    first = next(iter(methods.values()))
    ids = [one.image_id for one in first]
    for name, panels in methods.items():
        if [one.image_id for one in panels] != ids:
            raise ValueError(f"{name} has other images than {next(iter(methods))}; give all methods the same images")
    columns = [
        (index, name)
        for index in range(len(ids))
        for name in dict.fromkeys(name for panels in methods.values() for name in panels[index].maps)
    ]
    top: list[Tile | None] = [Tile(first[index].image, name) for index, name in columns]
    rows = [top, *([_tile(panels[index], name, bare=True) for index, name in columns] for panels in methods.values())]
    names = ["image", *methods]
    masks = {f"{name}: mask": [one.predicted for one in panels] for name, panels in methods.items()}
    masks["truth"] = [one.mask for one in first]
    for name, drawn in masks.items():
        if all(mask is not None for mask in drawn):
            rows.append([Tile(colored(mask)) for index, _ in columns if (mask := drawn[index]) is not None])
            names.append(name)
    return grid(rows, height=height, names=names)


def growth(states: Mapping[str, PanelData], *, height: int = 150) -> Picture:
    """Draw how the maps of one image change: one column per state (an epoch), one row per class.

    The first column shows the image, the last one its true mask, if it has one.
    """
    names = list(dict.fromkeys(name for one in states.values() for name in one.maps))
    if not names:
        raise ValueError("none of the states has a map")
    first = next(iter(states.values()))
    rows: list[list[Tile | None]] = []
    for row, name in enumerate(names):
        maps = [_tile(one, name, state, bare=row > 0) for state, one in states.items()]
        rows.append([None if row else Tile(first.image, first.image_id), *maps])
    if first.mask is not None:
        rows[0].append(Tile(colored(first.mask), "truth"))
    return grid(rows, height=height, names=names)


def _tiles(data: PanelData) -> list[Tile | None]:
    tiles: list[Tile | None] = [Tile(data.image, data.image_id)]
    tiles += [_tile(data, name, name) for name in data.maps]
    if data.mask is not None:
        tiles.append(Tile(colored(data.mask), "truth"))
    return tiles


def _tile(data: PanelData, name: str, caption: str = "", *, bare: bool = False) -> Tile | None:
    if name not in data.maps:
        return None
    probability = data.probabilities.get(name)
    pixels = overlay(data.image, np.asarray(data.maps[name]), data.truth.get(name))
    note = "" if bare or probability is None else f"{probability:.2f}"
    return Tile(pixels, "" if bare else caption, note)
