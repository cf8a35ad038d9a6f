"""Text on pictures: fonts by the letters that a text has, its width, and shortening to a width."""

from __future__ import annotations

__all__ = ["class_names", "draw_text", "fitting", "height_of", "is_legible", "plot_text", "width_of"]

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

from attn.pictures.palette import Color
from attn.wording import escape_controls

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
DOTS = "…"


def is_legible(text: str) -> bool:
    """Whether a font of the installed packages or of this machine has all letters of a text."""
    letters = frozenset(text)
    return _is_plain(letters) or _covering(letters) is not None


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes' names; a name with a letter that no font has becomes `class 3`, 3 being its value in masks."""
    return tuple(name if is_legible(name) else f"class {index + 1}" for index, name in enumerate(classes))


def draw_text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, color: Color, size: int, anchor: str = "la"
) -> None:
    """Write a text; `?` stands for letters that no font has. Of `anchor` see Pillow's text anchors."""
    text = _drawable(text)
    draw.text(place, text, color, _font(text, size), anchor=anchor)


def width_of(text: str, size: int) -> int:
    """Width in pixels."""
    text = _drawable(text)
    return round(_font(text, size).getlength(text)) if text else 0


def height_of(size: int) -> int:
    """Height of a line in pixels, with the space to the next line."""
    return round(size * 1.6)


def fitting(text: str, size: int, width: int) -> str:
    """The text, shortened in its middle if it is wider than `width` pixels; empty if not even two letters fit."""
    if width_of(text, size) <= width:
        return text

    def shortened(kept: int) -> str:
        return text[: (kept + 1) // 2].rstrip() + DOTS + text[len(text) - kept // 2 :].lstrip()

    kept = bisect_left(range(len(text)), True, lo=2, key=lambda kept: width_of(shortened(kept), size) > width) - 1
    return shortened(kept) if kept >= 2 else ""


def plot_text(text: str) -> str:
    """A text for Matplotlib, which has one font and takes what is between two `$` for a formula."""
    known = _letters(_packaged())
    return "".join(letter if ord(letter) in known else "?" for letter in text).replace("$", r"\$")


def _is_plain(letters: frozenset[str]) -> bool:
    return all(letter.isascii() or letter == DOTS for letter in letters)


def _font(text: str, size: int) -> Font:
    """Pillow's font for ASCII and …, else the first one that has all of the letters."""
    return _loaded(_covering(frozenset(text)), size)


def _drawable(text: str) -> str:
    """The text on one line, with `?` for letters that no font has."""
    text = escape_controls(" ".join(text.split()))
    if is_legible(text):
        return text
    return "".join(letter if letter.isascii() or ord(letter) in _letters(_packaged()) else "?" for letter in text)


def _packaged() -> Path:
    """Matplotlib's font: most alphabets, but not Chinese, Japanese or Korean."""
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@cache
def _covering(letters: frozenset[str]) -> Path | None:
    """The font file that has these letters; None: Pillow's font, or no font has them."""
    if _is_plain(letters):
        return None
    from matplotlib.font_manager import findSystemFonts

    wanted = {ord(letter) for letter in letters}
    if wanted <= _letters(_packaged()):
        return _packaged()
    return next((path for path in map(Path, sorted(findSystemFonts())) if wanted <= _letters(path)), None)


@cache
def _letters(path: Path) -> frozenset[int]:
    """Code points of a scalable font; empty if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


@cache
def _loaded(path: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
