"""Words of messages: counts of things; foreign text on one line, not too long, and without control characters."""

from __future__ import annotations

__all__ = ["counted", "escape_controls", "shorten"]

import re

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things: `1 image`, `2 images`, `0 classes`.

    Args:
        plural: By default `noun` with an s.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def escape_controls(text: str) -> str:
    """Escape control characters except line ends and tabs: foreign text must not move the cursor or set colours."""
    return CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def shorten(text: str, max_length: int) -> str:
    """The text on one line, cut at a space if it is longer than `max_length`, or within a single long word."""
    text = " ".join(text.split())
    if len(text) <= max_length:
        return text
    kept, space, _ = text[: max_length + 1].rpartition(" ")
    return f"{kept if space else text[:max_length]} ..."
