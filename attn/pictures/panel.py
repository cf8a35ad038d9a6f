"""Pictures of images with their maps and masks: one image, several images, and one image over the epochs of a run."""

from __future__ import annotations

__all__ = ["growth", "panel", "sheet"]

from collections.abc import Mapping, Sequence

from attn.pictures.layout import Picture, Tile, fitting_height, grid
from attn.pictures.tiles import MOST_MAPS, TRUTH, PanelData, TilePainter

LOWEST = 100
"""Height of tiles in pixels below which a panel goes on in another row."""


def panel(data: PanelData, *, height: int = 200, every_class: bool = False) -> Picture:
    """Draw the image, the map of each class with its probability, the masks, and a legend.

    Args:
        height: Largest height of the tiles in pixels.
        every_class: List all classes in the legend, if there are not more than colours: pictures of an image in
            several epochs then have one size.
    """
    count = columns = 1 + len(data.maps) + len(data.masks)
    while columns > 1 and fitting_height([data.image], columns, height) < min(LOWEST, height):
        columns -= 1
    painter = TilePainter.of([data], columns, height, every_class=every_class, note=data.note)
    tiles = painter.row(data, list(data.maps), list(data.masks))
    rows = [tiles[start : start + columns] for start in range(0, count, columns)]
    return painter.explain(grid(rows, height=painter.height))


def sheet(images: Sequence[PanelData], *, height: int = 160) -> Picture:
    """Draw one row per image: the image, its first maps, and the masks in columns of their own; a legend below."""
    masks = list(dict.fromkeys(name for one in images for name in one.masks))
    most = max(len(one.maps) for one in images)
    note = f"maps of at most {MOST_MAPS} classes of an image" if most > MOST_MAPS else ""
    places = min(MOST_MAPS, most)
    painter = TilePainter.of(images, 1 + places + len(masks), height, note=note)
    rows: list[list[Tile | None]] = []
    for one in images:
        maps = [*list(one.maps)[:places], *([None] * (places - len(one.maps)))]
        rows.append(painter.row(one, maps, masks))
    return painter.explain(grid(rows, height=painter.height))


def growth(states: Mapping[str, PanelData], *, height: int = 150) -> Picture:
    """Draw how the maps of one image change: one column per state (an epoch), one row per class.

    The first column shows the image, the last one its true mask, if it has one.
    """
    images = list(states.values())
    indices = list(dict.fromkeys(index for one in images for index in one.maps))
    if not indices:
        raise ValueError("none of the states has a map")
    painter = TilePainter.of(images, len(states) + 2, height)
    rows: list[list[Tile | None]] = []
    for row, index in enumerate(indices):
        maps = [painter.map(one, index, "" if row else state) for state, one in states.items()]
        rows.append([None if row else painter.image(images[0]), *maps])
    rows[0].append(painter.mask(images[0], TRUTH, TRUTH))
    names = [painter.names[index] for index in indices]
    return painter.explain(grid(rows, height=painter.height, names=names))
