"""How much the threads of a process decode at once: eight large images would take eight times the memory of one."""

from __future__ import annotations

__all__ = ["PixelBudget"]

import contextlib
import os
import threading
from collections.abc import Generator


class PixelBudget:
    """Threads share so many pixels. A larger image is decoded alone; who holds an image already waits for no other."""

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the threads that held some do not exist there

    def _reset(self) -> None:
        self._used, self._changed, self._mine = 0, threading.Condition(), threading.local()

    @contextlib.contextmanager
    def take(self, pixels: int) -> Generator[None]:
        """Within, the pixels count as used; after that too, where the thread is in `keep`."""
        mine = self._held()
        with self._changed:
            self._changed.wait_for(lambda: mine or not self._used or self._used + pixels <= self._most)
            self._used += pixels
        self._mine.pixels = mine + pixels
        try:
            yield
        finally:
            if not getattr(self._mine, "keeps", False):
                self._give_back(pixels)

    @contextlib.contextmanager
    def keep(self) -> Generator[None]:
        """Within, what this thread takes counts until the end: it goes on to hold what it has decoded."""
        self._mine.keeps = True
        try:
            yield
        finally:
            self._mine.keeps = False
            self._give_back(self._held())

    def _held(self) -> int:
        return getattr(self._mine, "pixels", 0)

    def _give_back(self, pixels: int) -> None:
        self._mine.pixels = self._held() - pixels
        with self._changed:
            self._used -= pixels
            self._changed.notify_all()
