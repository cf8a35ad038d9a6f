"""Hash in a second thread: hashlib releases the GIL, so hashing overlaps with encoding and I/O."""

from __future__ import annotations

__all__ = ["overlap_io"]

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")


def overlap_io(background: Callable[[], T], foreground: Callable[[], S]) -> tuple[T, S]:
    """Call two functions at the same time, the first in a thread, and return both results.

    Both have finished when this returns or raises. If both raise, the first one's exception is raised.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(background)
        try:
            result = foreground()
        except Exception:
            future.result()
            raise
        return future.result(), result
