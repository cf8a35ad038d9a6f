"""Limits the number of pixels that the threads of a process decode at once, and so their memory."""

from __future__ import annotations

__all__ = ["PixelBudget"]

import contextlib
import os
import threading
from collections.abc import Generator


class PixelBudget:
    """A number of pixels that threads share.

    An image that exceeds the budget is decoded alone. A thread that already holds pixels never waits, so that threads
    cannot deadlock.
    """

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the threads that held pixels do not exist in the child

    def _reset(self) -> None:
        self._used, self._changed, self._mine = 0, threading.Condition(), threading.local()

    @contextlib.contextmanager
    def take(self, pixels: int) -> Generator[None]:
        """Use pixels inside the `with` block, and until the end of an enclosing `keep`."""
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
        """Inside the `with` block, everything that this thread takes counts as used until the block ends."""
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
