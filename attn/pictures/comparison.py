"""One picture of several methods on the same images."""

from __future__ import annotations

__all__ = ["comparison"]

from collections.abc import Iterable, Mapping, Sequence

from attn.pictures.layout import GROUP_GAP, WIDEST, Picture, Tile, grid, stacked, tile_size
from attn.pictures.tiles import MOST_MAPS, TRUTH, PanelData, TilePainter

NAMES = 150
"""Room for the names of the rows, in pixels."""


def comparison(methods: Mapping[str, Sequence[PanelData]], *, height: int = 150, widest: int = WIDEST) -> Picture:
    """Draw several methods on the same images: a group of columns per image with one per class, a row per method.

    The first row shows the images, the last rows the methods' masks and the true masks. Images that do not fit into
    the width follow below. The first map of a class in its column has the class's name.

    Args:
        methods: Data by the method's name, each with the same images in the same order. Missing maps leave empty cells.
        height: Largest height of the tiles in pixels.
        widest: Width of the picture in pixels that further images would exceed.

    Raises:
        ValueError: The images differ.
    """
    first = next(iter(methods.values()))
    ids = [one.image_id for one in first]
    for name, images in methods.items():
        if [one.image_id for one in images] != ids:
            raise ValueError(f"{name} has other images than {next(iter(methods))}; give all methods the same images")
    by_image = [[images[index] for images in methods.values()] for index in range(len(ids))]
    classes = [list(dict.fromkeys(index for one in images for index in one.maps)) for images in by_image]
    most = max(map(len, classes))
    note = f"maps of at most {MOST_MAPS} classes of an image" if most > MOST_MAPS else ""
    shown = [item[:MOST_MAPS] for item in classes]
    painter = TilePainter.of(
        [one for images in by_image for one in images], max(map(len, shown)) + 1, height, note=note
    )
    columns = [max(1, len(item)) for item in shown]
    needed = [
        count * (tile_size(one.image, painter.height)[1] + GROUP_GAP // 2)
        for count, one in zip(columns, first, strict=True)
    ]
    bands = _bands(needed, widest - NAMES)
    return painter.explain(stacked([_band(painter, methods, shown, band) for band in bands]))


def _bands(widths: Sequence[int], widest: int) -> list[list[int]]:
    """Positions in as few bands as fit into a width, the bands as even as they can be."""

    def split(limit: int) -> list[list[int]]:
        bands, used = list[list[int]](), 0
        for position, width in enumerate(widths):
            if not bands or used + width > limit:
                bands.append([])
                used = 0
            bands[-1].append(position)
            used += width
        return bands

    fewest = len(split(widest))
    even = next(limit for limit in range(sum(widths) // fewest, widest + 1, 4) if len(split(limit)) == fewest)
    return split(even)


def _band(
    painter: TilePainter,
    methods: Mapping[str, Sequence[PanelData]],
    shown: Sequence[Sequence[int]],
    band: Sequence[int],
) -> Picture:
    """The rows of some of the images."""
    first = next(iter(methods.values()))
    widths = [max(1, len(shown[index])) for index in band]
    starts = [sum(widths[:position]) for position in range(len(band))]

    def one_each(tiles: Iterable[Tile | None]) -> list[Tile | None]:
        """A row with one tile an image, in the first of its columns."""
        row: list[Tile | None] = [None] * sum(widths)
        for start, tile in zip(starts, tiles, strict=True):
            row[start] = tile
        return row

    rows, names = [one_each(painter.image(first[index]) for index in band)], ["image"]
    named = set[tuple[int, int]]()
    for name, images in methods.items():
        row: list[Tile | None] = []
        for index in band:
            for label in shown[index]:
                is_first = (index, label) not in named and label in images[index].maps
                named |= {(index, label)} if is_first else set()
                caption = painter.caption(images[index], label) if is_first else ""
                row.append(painter.map(images[index], label, caption, probability=False))
            row += [] if shown[index] else [None]
        rows.append(row)
        names.append(name)
    masks = [(f"{name}: {mask}", images, mask) for name, images in methods.items() for mask in _own_masks(images)]
    masks += [(TRUTH, first, TRUTH)] if any(TRUTH in one.masks for one in first) else []
    for name, images, mask in masks:
        rows.append(one_each(painter.mask(images[index], mask, "") for index in band))
        names.append(name)
    return grid(rows, height=painter.height, names=names, groups=starts)


def _own_masks(images: Sequence[PanelData]) -> list[str]:
    return list(dict.fromkeys(name for one in images for name in one.masks if name != TRUTH))
