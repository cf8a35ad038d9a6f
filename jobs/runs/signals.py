"""Ctrl-C and SIGTERM while a run begins and ends."""

from __future__ import annotations

__all__ = ["ignore_signals", "sigterm_as_interrupt"]

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import NoReturn


@contextlib.contextmanager
def ignore_signals() -> Generator[None]:
    """Ignore Ctrl-C and SIGTERM in the body: writing the end of a run takes seconds and must complete."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Generator[None]:
    """Treat SIGTERM like Ctrl-C in the body, if SIGTERM has no handler; only in the main thread."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
