"""Arranges tiles with captions to sheets. Pixels are uint8 RGB (H, W, 3)."""

from __future__ import annotations

__all__ = [
    "FAINT",
    "GAP",
    "INK",
    "PAPER",
    "Picture",
    "WIDEST",
    "fitting_height",
    "nearest",
    "resized",
    "Tile",
    "grid",
    "heading",
    "stacked",
    "text_size",
    "tile_size",
]

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from attn.pictures.palette import Color
from attn.pictures.text import draw_text, fitting, height_of, width_of

Pixels = NDArray[np.uint8]
PAPER, INK, FAINT = (255, 255, 255), (28, 30, 34), (96, 100, 108)
LINE: Color = (200, 203, 208)
GAP = 6
GROUP_GAP = 18
"""Space between groups of columns."""
BROADEST = 1.6
"""Largest ratio of a tile's width to the height of its row; wider images get lower tiles."""
WIDEST = 1240
"""Width in pixels that sheets keep to: on a page of 830 pixels their text can still be read."""


@dataclass(frozen=True)
class Picture:
    """A finished drawing."""

    pixels: Pixels

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"<Picture {width}x{height}>"

    def png(self) -> bytes:
        """The drawing as a PNG file."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG", compress_level=4)  # 9: ten times the time, 5 % less
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.png()


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet with a caption above it, and a fainter note right of the caption.

    Attributes:
        short: Takes the caption's place where that is too wide.
        span: Number of columns that the caption and the note may take; the tiles beside it then have none.
    """

    pixels: Pixels
    caption: str = ""
    note: str = ""
    span: int = 1
    short: str = ""

    @classmethod
    def of_image(cls, pixels: Pixels, title: str) -> Self:
        """An image with its title; where that is too wide, without the folders in it."""
        return cls(pixels, title, short=title.rpartition("/")[2])


def tile_size(image: Pixels, height: int) -> tuple[int, int]:
    """(height, width) of an image's tile in a row of a height."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, BROADEST * height / columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def fitting_height(images: Sequence[Pixels], columns: int, height: int) -> int:
    """The height of tiles, at most `height`, at which so many columns are not wider than a picture may be."""
    ratio = max(min(BROADEST, image.shape[1] / image.shape[0]) for image in images)
    return max(48, min(height, int((WIDEST / columns - GAP) / ratio)))


def resized(image: NDArray[Any], height: int) -> Any:
    """An image, or a map (H, W) of floats, at the size of its tile."""
    rows, columns = tile_size(image, height)
    if image.dtype == np.uint8:
        picture = Image.fromarray(np.ascontiguousarray(image))
        return np.asarray(picture.resize((columns, rows), Image.Resampling.LANCZOS))
    way = cv2.INTER_AREA if rows < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image, np.float32), (columns, rows), interpolation=way)


def nearest(mask_HW: Pixels, image: Pixels, height: int) -> Pixels:
    """A mask at the size of its image's tile."""
    rows, columns = tile_size(image, height)
    mask = cv2.resize(np.ascontiguousarray(mask_HW), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(mask, np.uint8)


def text_size(width: int) -> int:
    """Size of the text of a picture of a width, in pixels: larger in wide pictures, which pages show reduced."""
    return min(18, max(12, round(width / 76)))


def grid(
    rows: Sequence[Sequence[Tile | None]],
    *,
    height: int = 200,
    names: Sequence[str] = (),
    groups: Collection[int] = (),
    heads: Sequence[str] = (),
) -> Picture:
    """Arrange tiles in rows and columns; a column is as wide as its widest tile.

    Args:
        rows: Tiles; None leaves a cell empty.
        height: Height of the tiles in pixels, without captions.
        names: Names of the rows, written at their left.
        groups: Columns that begin a new group: a line separates them from the column before.
        heads: Names of the columns, written above them; an empty one continues the name before.

    Raises:
        ValueError: There is no tile.
    """
    if not rows or not any(rows):
        raise ValueError("a sheet needs at least one tile")
    scaled = [[tile and _scaled(tile, height) for tile in row] for row in rows]
    size = text_size(_columns(scaled, 0, groups)[2])
    short_names = [fitting(name, size, 10 * size) for name in names]
    margin = GAP + (max(width_of(name, size) for name in short_names) + 2 * GAP if short_names else 0)
    lefts, widths, right = _columns(scaled, margin, groups)
    line = height_of(size)
    captions = [line if any(tile and (tile.caption or tile.note) for tile in row) else 0 for row in scaled]
    head = line if heads else 0
    total = GAP + head + sum(height + GAP + caption for caption in captions)
    sheet = Image.new("RGB", (right, total), PAPER)
    draw, top = ImageDraw.Draw(sheet), GAP
    for column in groups:
        if 0 < column < len(lefts):
            draw.line([(lefts[column] - GROUP_GAP // 2, GAP), (lefts[column] - GROUP_GAP // 2, total - GAP)], LINE)
    for column, text in enumerate(heads[: len(lefts)]):
        following = next((later for later in range(column + 1, len(lefts)) if heads[later]), len(lefts))
        draw_text(draw, (lefts[column], top), fitting(text, size, sum(widths[column:following])), FAINT, size)
    top += head
    for index, row in enumerate(scaled):
        if index < len(short_names):
            draw_text(draw, (2 * GAP, top + captions[index] + height / 2), short_names[index], INK, size, "lm")
        for column, tile in enumerate(row):
            if tile:
                below = (height - tile.pixels.shape[0]) // 2
                sheet.paste(Image.fromarray(tile.pixels), (lefts[column], top + captions[index] + below))
                last = min(column + tile.span, len(lefts)) - 1
                _caption(draw, tile, lefts[column], top, lefts[last] + widths[last] - lefts[column], size)
        top += captions[index] + height + GAP
    return Picture(np.asarray(sheet))


def stacked(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other, left-aligned, with a line between them."""
    if len(pictures) == 1:
        return pictures[0]
    width = max(picture.pixels.shape[1] for picture in pictures)
    height = sum(picture.pixels.shape[0] for picture in pictures) + GROUP_GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for number, picture in enumerate(pictures):
        if number:
            draw.line([(GAP, top + GROUP_GAP // 2), (width - GAP, top + GROUP_GAP // 2)], LINE)
            top += GROUP_GAP
        sheet.paste(Image.fromarray(picture.pixels), (0, top))
        top += picture.pixels.shape[0]
    return Picture(np.asarray(sheet))


def heading(picture: Picture, title: str, subtitle: str = "") -> Picture:
    """The picture with a title above it, and a smaller line below the title."""
    small = text_size(picture.pixels.shape[1])
    lines = [(title, INK, round(small * 1.4))] + ([(subtitle, FAINT, small)] if subtitle else [])
    band = round(sum(line * 1.5 for _, _, line in lines)) + GAP
    width = max(picture.pixels.shape[1], *(width_of(text, line) + 4 * GAP for text, _, line in lines))
    sheet = Image.new("RGB", (width, picture.pixels.shape[0] + band), PAPER)
    draw, top = ImageDraw.Draw(sheet), float(GAP)
    for text, color, line in lines:
        draw_text(draw, (GAP, top), text, color, line)
        top += line * 1.5
    sheet.paste(Image.fromarray(picture.pixels), (0, band))
    return Picture(np.asarray(sheet))


def _columns(
    rows: Sequence[Sequence[Tile | None]], margin: int, groups: Collection[int]
) -> tuple[list[int], list[int], int]:
    """Left edge and width of each column, and the sheet's width."""
    lefts, widths, left = list[int](), list[int](), margin
    for column in range(max(map(len, rows))):
        left += GROUP_GAP - GAP if column in groups and column else 0
        tiles = [tile for row in rows for tile in row[column : column + 1] if tile]
        widths.append(max((tile.pixels.shape[1] for tile in tiles), default=0))
        lefts.append(left)
        left += widths[-1] + GAP
    return lefts, widths, left


def _caption(draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, width: int, size: int) -> None:
    """The caption, shortened if it is too wide, then the note; without the note if little of the caption would stay."""
    beside = width_of(tile.note, size) + GAP if tile.note else 0
    whole = tile.short if tile.short and width_of(tile.caption, size) > width - beside else tile.caption
    caption = fitting(whole, size, width - beside)
    note = tile.note if caption == whole or width - beside >= width / 3 else ""
    caption = caption if note else fitting(whole, size, width)
    draw_text(draw, (left, top), caption, INK, size)
    draw_text(draw, (left + width_of(caption, size) + (GAP if caption else 0), top), note, FAINT, size)


def _scaled(tile: Tile, height: int) -> Tile:
    drawn = tile.pixels.shape[:2] == tile_size(tile.pixels, height)
    return tile if drawn else replace(tile, pixels=resized(tile.pixels, height))
