"""What a network looks at: panels of images with the maps of their classes, of one model, of several, over epochs."""

from __future__ import annotations

__all__ = ["Looked", "comparison", "growth", "panel", "sheet"]

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
class Looked:
    """An image and what a network made of it, in the image's own frame.

    Attributes:
        image: uint8 RGB (H, W, 3).
        maps: (H, W) in [0, 1] by class name, in the order to show them in.
        probabilities: By class name, in [0, 1].
        truth: Where each class is, bool (H, W), as far as it is known.
        mask: uint8 (H, W) of indices, 255 void, where the image has one.
        predicted: Likewise, what a segmentation network makes of the image, where one has learnt from the maps.
    """

    image_id: str
    image: Pixels
    maps: Mapping[str, NDArray[Any]]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    truth: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    mask: Pixels | None = None
    predicted: Pixels | None = None


def panel(looked: Looked, *, height: int = 200) -> Picture:
    """One row: the image, its map for each class with name and probability, and the truth in VOC's colours."""
    return grid([_tiles(looked)], height=height)


def sheet(looked: Sequence[Looked], *, height: int = 160) -> Picture:
    """One row an image; the truth stands in the last column."""
    rows: list[list[Tile | None]] = [_tiles(one) for one in looked]
    columns = max(map(len, rows))
    for row, one in zip(rows, looked, strict=True):
        position = len(row) - (one.mask is not None)
        row[position:position] = [None] * (columns - len(row))
    return grid(rows, height=height)


def comparison(methods: Mapping[str, Sequence[Looked]], *, height: int = 150) -> Picture:
    """Several methods on the same images: one column an (image, class), one row a method, the images on top.

    Below them stand the masks that were predicted and the true ones, where the images have them.

    Args:
        methods: By name; each with the same images in the same order. Classes that a method has no map for stay empty.

    Raises:
        ValueError: The images are not the same.
    """
    first = next(iter(methods.values()))
    ids = [one.image_id for one in first]
    for name, looked in methods.items():
        if [one.image_id for one in looked] != ids:
            raise ValueError(f"{name} shows other images than {next(iter(methods))}; give all of them the same ones")
    columns = [
        (index, name)
        for index in range(len(ids))
        for name in dict.fromkeys(name for looked in methods.values() for name in looked[index].maps)
    ]
    top: list[Tile | None] = [Tile(first[index].image, name) for index, name in columns]
    rows = [top, *([_tile(looked[index], name, bare=True) for index, name in columns] for looked in methods.values())]
    names = ["image", *methods]
    masks = {f"{name}: mask": [one.predicted for one in looked] for name, looked in methods.items()}
    masks["truth"] = [one.mask for one in first]
    for name, drawn in masks.items():
        if all(mask is not None for mask in drawn):
            rows.append([Tile(colored(mask)) for index, _ in columns if (mask := drawn[index]) is not None])
            names.append(name)
    return grid(rows, height=height, names=names)


def growth(states: Mapping[str, Looked], *, height: int = 150) -> Picture:
    """How the maps of one image change: one column a state (an epoch), one row a class.

    The image stands before the states and its mask, where it has one, behind them.
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


def _tiles(looked: Looked) -> list[Tile | None]:
    tiles: list[Tile | None] = [Tile(looked.image, looked.image_id)]
    tiles += [_tile(looked, name, name) for name in looked.maps]
    if looked.mask is not None:
        tiles.append(Tile(colored(looked.mask), "truth"))
    return tiles


def _tile(looked: Looked, name: str, caption: str = "", *, bare: bool = False) -> Tile | None:
    if name not in looked.maps:
        return None
    probability = looked.probabilities.get(name)
    pixels = overlay(looked.image, np.asarray(looked.maps[name]), looked.truth.get(name))
    note = "" if bare or probability is None else f"{probability:.2f}"
    return Tile(pixels, "" if bare else caption, note)
