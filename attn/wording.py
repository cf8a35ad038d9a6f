"""Texts of libraries and servers within our messages."""

from __future__ import annotations

__all__ = ["shortened"]


def shortened(text: str, most: int) -> str:
    """A text on one line, cut between two words where it is longer; a single longer word is cut where it must be."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    kept, space, _ = text[: most + 1].rpartition(" ")
    return f"{kept if space else text[:most]} ..."
