"""Hashing beside other work: it leaves the interpreter alone, so that a second core hides it."""

from __future__ import annotations

__all__ = ["overlap_io"]

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")


def overlap_io(beside: Callable[[], T], here: Callable[[], S]) -> tuple[T, S]:
    """The results of two functions, the first of which runs in a thread of its own meanwhile.

    Both have ended when this returns or raises; where both raise, it is what the first raised.
    """
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(beside)
        try:
            done = here()
        except Exception:
            begun.result()
            raise
        return begun.result(), done
