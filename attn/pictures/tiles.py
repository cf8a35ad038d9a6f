"""An image with its maps and masks, and the tiles that show them in one picture's colours."""

from __future__ import annotations

__all__ = ["MOST_MAPS", "TRUTH", "PanelData", "TilePainter"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.display import percent
from attn.pictures.layout import Picture, Tile, fitting_height, nearest, resized, text_size, tile_size
from attn.pictures.legend import ATTENTION, Entry, class_entries, line_entry, map_entry, with_legend
from attn.pictures.overlay import overlay
from attn.pictures.palette import CLASS_COLORS, Color, class_colors
from attn.pictures.regions import paint
from attn.pictures.text import class_names

Pixels = NDArray[np.uint8]
TRUTH = "truth"
"""The name of the ground truth among masks."""
MOST_MAPS = 5
"""Largest number of maps of an image where a picture shows several images."""


@dataclass(frozen=True)
class PanelData:
    """An image with its maps, probabilities and masks, at the image's own size.

    Attributes:
        image: uint8 RGB (H, W, 3).
        classes: Names of all classes.
        maps: (H, W) in [0, 1] by class index, in the order to draw them.
        probabilities: In [0, 1] by class index.
        masks: uint8 (H, W) by name, in the order to draw them: 0 background, class index + 1, 255 no label.
        outlined: The mask whose regions are outlined on the maps of their classes, if it is among the masks.
        title: Text above the image; None: its id.
        mistaken: Classes of maps that the model predicts and the labels lack; their captions say so.
        note: A line below the picture of this image alone.
        shown_by_maps: What the colours of its maps stand for.
    """

    image_id: str
    image: Pixels
    classes: tuple[str, ...]
    maps: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    probabilities: Mapping[int, float] = field(default_factory=dict)
    masks: Mapping[str, Pixels] = field(default_factory=dict)
    outlined: str = TRUTH
    title: str | None = None
    mistaken: frozenset[int] = frozenset()
    note: str = ""
    shown_by_maps: str = ATTENTION

    def region(self, index: int) -> NDArray[np.bool_] | None:
        """The outlined mask's region of a class."""
        mask = self.masks.get(self.outlined)
        return None if mask is None else mask == index + 1


@dataclass(frozen=True)
class TilePainter:
    """Draws tiles of images in the colours of one picture, and the legend that explains them.

    Attributes:
        height: Of the tiles, in pixels.
        text: Size of the names on regions, in pixels.
        names: Of all classes, as they can be drawn.
        labels: What stands on regions, by value: the class's name, or its value if there are more classes than colours.
    """

    height: int
    text: int
    names: tuple[str, ...]
    colors: Mapping[int, Color]
    entries: Sequence[Entry]
    note: str
    labels: Mapping[int, str]
    _images: dict[int, Pixels] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, images: Sequence[PanelData], columns: int, height: int, *, every_class: bool = False, note: str = ""
    ) -> TilePainter:
        """For a picture of some images.

        Args:
            columns: Number of columns of tiles.
            every_class: List all classes in the legend, if there are not more than colours.
        """
        height = fitting_height([one.image for one in images], columns, height)
        classes = images[0].classes
        names = class_names(classes)
        truth, occurring = set[int](), set[int]()
        for one in images:
            for name, mask in one.masks.items():
                (truth if name == TRUTH else occurring).update(_values(mask))
        occurring |= truth
        if occurring and every_class and len(classes) <= len(CLASS_COLORS):
            occurring |= set(range(len(classes) + 1))
        labelled = [value for value in (*sorted(truth), *sorted(occurring)) if 0 < value <= len(classes)]
        colors = class_colors(labelled)
        labels = {value: names[value - 1] for value in labelled}
        crowded = len(colors) > len(CLASS_COLORS)
        listed = {value: f"{value}: {name}" for value, name in labels.items()} if crowded else labels
        entries = class_entries(occurring, colors, listed)
        if any(one.maps for one in images):
            outlined = {f"outline: {one.outlined}" for one in images if one.outlined in one.masks}
            meanings = dict.fromkeys(one.shown_by_maps for one in images if one.maps)
            entries = [*map(map_entry, meanings), *map(line_entry, sorted(outlined)), *entries]
        used = {value - 1 for value in labelled} | {index for one in images for index in one.maps}
        notes = [note] if note else []
        if any(names[index] != classes[index] for index in used):
            notes.append("class N: no font has all letters of its name; N is its value in mask files")
        widest = max(tile_size(one.image, height)[1] for one in images)
        labels = {value: str(value) for value in labels} if crowded else labels
        return cls(height, text_size(columns * widest), names, colors, entries, "; ".join(notes), labels)

    def explain(self, picture: Picture) -> Picture:
        """The picture with the legend below."""
        return with_legend(picture, self.entries, self.note)

    def image(self, data: PanelData) -> Tile:
        return Tile.of_image(self._resized(data), data.title or data.image_id)

    def map(self, data: PanelData, index: int, caption: str, *, probability: bool = True) -> Tile | None:
        """The map of a class over the image; its note is the probability, and that the map is 0. None without a map."""
        if index not in data.maps:
            return None
        region = data.region(index)
        pixels = overlay(
            self._resized(data),
            resized(np.asarray(data.maps[index], np.float32), self.height),
            None if region is None else nearest(region.astype(np.uint8), data.image, self.height) > 0,
        )
        known = data.probabilities.get(index)
        notes = [f"{percent(known)} %"] if probability and known is not None else []
        notes += [] if np.any(data.maps[index]) else ["0 everywhere"]
        return Tile(pixels, caption, ", ".join(notes))

    def mask(self, data: PanelData, name: str, caption: str) -> Tile | None:
        """A mask with the names of its regions; None if there is none."""
        if name not in data.masks:
            return None
        mask = nearest(data.masks[name], data.image, self.height)
        labels = {value: self.labels[value] for value in _values(mask) if value in self.labels}
        return Tile(paint(self._resized(data), mask, self.colors, labels, size=self.text), caption)

    def row(self, data: PanelData, maps: Sequence[int | None], masks: Sequence[str]) -> list[Tile | None]:
        """The image, the maps of some classes (None: an empty cell), and masks."""
        tiles: list[Tile | None] = [self.image(data)]
        tiles += [None if index is None else self.map(data, index, self.caption(data, index)) for index in maps]
        return [*tiles, *(self.mask(data, name, name) for name in masks)]

    def caption(self, data: PanelData, index: int) -> str:
        """What stands above the map of a class."""
        return f"predicted: {self.names[index]}" if index in data.mistaken else self.names[index]

    def _resized(self, data: PanelData) -> Pixels:
        """The image at its tile's size, which several tiles share."""
        key = id(data.image)
        if key not in self._images:
            self._images[key] = resized(data.image, self.height)
        return self._images[key]


def _values(mask: Pixels) -> list[int]:
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
