"""Shortens messages of libraries and servers for use in our own messages."""

from __future__ import annotations

__all__ = ["shorten"]


def shorten(text: str, max_length: int) -> str:
    """The text on one line, cut at a space if it is longer than `max_length`, or within a single long word."""
    text = " ".join(text.split())
    if len(text) <= max_length:
        return text
    kept, space, _ = text[: max_length + 1].rpartition(" ")
    return f"{kept if space else text[:max_length]} ..."
