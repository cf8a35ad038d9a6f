"""How fast a worker trains, and how much of its time it waits for images."""

from __future__ import annotations

__all__ = ["Pace"]

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Pace:
    """Measures an epoch from its first batch on."""

    def __init__(self) -> None:
        self._began, self._waited, self._images = time.monotonic(), 0.0, 0

    def wait(self, load: Callable[[], T]) -> T:
        """Return what `load` returns; its time counts as waiting for data."""
        began = time.monotonic()
        try:
            return load()
        finally:
            self._waited += time.monotonic() - began

    def count(self, images: int) -> None:
        """Count images that were trained on."""
        self._images += images

    def speed(self) -> tuple[float, float]:
        """Images per second of this worker, and the share of its time, in [0, 1], in which it waited for data."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        return self._images / seconds, min(self._waited / seconds, 1.0)
