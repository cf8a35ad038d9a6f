"""Says how many images a choice of the config leaves out."""

from __future__ import annotations

__all__ = ["say_left_out"]

from attn import progress
from attn.notices import print_once
from attn.wording import counted


def say_left_out(field: str, kept: int, images: int, which: tuple[str, str], way_out: str = "") -> None:
    """Say it once, where progress is shown; nothing if no image is left out.

    Args:
        field: The field that leaves them out.
        which: What is left out, as the end of a sentence about one image and about several.
        way_out: How to keep them.
    """
    left = images - kept
    if left and progress.is_shown():
        of = counted(images, "image")
        print_once(f"note: {field} leaves out {left} of the split's {of}, which {which[left > 1]}{way_out}")
