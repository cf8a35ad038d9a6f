"""Legends below pictures: what the colours of regions, maps and lines mean."""

from __future__ import annotations

__all__ = [
    "ATTENTION",
    "PROBABILITY",
    "SIZE",
    "Entry",
    "class_entries",
    "line_entry",
    "map_entry",
    "swatch",
    "with_legend",
]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from attn.pictures.layout import FAINT, GAP, INK, PAPER, Picture, text_size
from attn.pictures.overlay import heat, outline
from attn.pictures.palette import BACKGROUND_SHADE, NO_LABEL, UNLABELLED, Color
from attn.pictures.text import draw_text, fitting, height_of, width_of

Pixels = NDArray[np.uint8]
SIZE, SPACE = 13, 16
"""Height of a sample, and space between entries, in pixels."""
LONGEST_NAME = 200
"""Width of a class's name in pixels at which it is shortened."""

ATTENTION = "attention, 0 to 100 % of the map's maximum"
"""What the colours of a classifier's maps stand for."""
PROBABILITY = "probability of the class, 0 to 100 %"
"""What the colours of a segmentation network's maps stand for."""
_SHORTER = {
    ATTENTION: ("attention, % of its maximum", "attention"),
    PROBABILITY: ("probability, 0 to 100 %", "probability"),
}


@dataclass(frozen=True)
class Entry:
    """A sample of pixels, and what it stands for.

    Attributes:
        shorter: Texts that take its place where it is too wide, the longest first.
    """

    sample: Pixels
    text: str
    shorter: tuple[str, ...] = ()


def swatch(color: Color, width: int = 16) -> Pixels:
    """A sample of one colour."""
    return np.broadcast_to(np.array(color, np.uint8), (SIZE, width, 3)).copy()


def class_entries(values: Iterable[int], colors: Mapping[int, Color], names: Mapping[int, str]) -> list[Entry]:
    """The classes of masks in the order of their values, then the background, then pixels without a label."""
    occurring = sorted(set(values))
    entries = [
        Entry(swatch(colors[value]), fitting(names[value], SIZE, LONGEST_NAME))
        for value in occurring
        if value in colors
    ]
    if 0 in occurring:
        ramp = BACKGROUND_SHADE * np.linspace(90, 255, 16)
        entries.append(Entry(np.tile(np.rint(ramp).astype(np.uint8)[None, :, None], (SIZE, 1, 3)), "background"))
    if NO_LABEL in occurring:
        entries.append(Entry(swatch(UNLABELLED), "no label"))
    return entries


def map_entry(text: str = ATTENTION) -> Entry:
    """The colours of maps."""
    return Entry(heat(np.tile(np.linspace(0, 1, 64), (SIZE, 1))), text, _SHORTER.get(text, ()))


def line_entry(text: str) -> Entry:
    """The line around objects."""
    canvas, region = np.full((3 * SIZE, 72, 3), 90, np.uint8), np.zeros((3 * SIZE, 72), bool)
    region[SIZE // 2 :] = True
    return Entry(outline(canvas, region)[:SIZE, 24:48], text)  # without the region's other sides


def with_legend(picture: Picture, entries: Sequence[Entry], note: str = "") -> Picture:
    """The picture with entries below it, on as many lines as its width takes, and a note under them."""
    if not entries and not note:
        return picture
    width = max(picture.pixels.shape[1], 240)
    size = text_size(width)
    lines = _wrapped([_shortened(entry, width - 2 * GAP, size) for entry in entries], width - 2 * GAP, size)
    notes = [note] if note else []
    line_height = height_of(size)
    height = picture.pixels.shape[0]
    sheet = Image.new("RGB", (width, height + line_height * (len(lines) + len(notes)) + GAP), PAPER)
    sheet.paste(Image.fromarray(picture.pixels), (0, 0))
    draw, top = ImageDraw.Draw(sheet), height + GAP // 2
    for line in lines:
        left = GAP
        for entry in line:
            middle = top + line_height // 2
            rows, columns = entry.sample.shape[:2]
            sheet.paste(Image.fromarray(entry.sample), (left, middle - rows // 2))
            draw.rectangle((left - 1, middle - rows // 2 - 1, left + columns, middle - rows // 2 + rows), outline=FAINT)
            draw_text(draw, (left + columns + 6, middle), entry.text, INK, size, "lm")
            left += _entry_width(entry, size)
        top += line_height
    for text in notes:
        draw_text(draw, (GAP, top + line_height / 2), fitting(text, size, width - 2 * GAP), FAINT, size, "lm")
    return Picture(np.asarray(sheet))


def _shortened(entry: Entry, width: int, size: int) -> Entry:
    """The entry with the longest of its texts that fits on a line; if none does, the last one is cut in its middle."""
    room = width - entry.sample.shape[1] - 6
    texts = (entry.text, *entry.shorter)
    whole = (text for text in texts if width_of(text, size) <= room)
    return replace(entry, text=next(whole, fitting(texts[-1], size, room)))


def _entry_width(entry: Entry, size: int) -> int:
    return entry.sample.shape[1] + 6 + width_of(entry.text, size) + SPACE


def _wrapped(entries: Iterable[Entry], width: int, size: int) -> list[list[Entry]]:
    lines: list[list[Entry]] = []
    used = 0
    for entry in entries:
        needed = _entry_width(entry, size)
        if not lines or used + needed - SPACE > width:
            lines.append([])
            used = 0
        lines[-1].append(entry)
        used += needed
    return lines
