"""SIGTERM at a run that trains: it saves a checkpoint where it stands, seals its maps, and ends."""

from __future__ import annotations

__all__ = ["checkpoint_on_sigterm"]

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from jobs.ray_cluster.progress import Channel

RETRY_SECONDS = 3.0


@contextlib.contextmanager
def checkpoint_on_sigterm(channel: Channel) -> Iterator[None]:
    """Let the first SIGTERM ask the workers for a checkpoint and their end, and a second one end this process.

    Before the first step there is nothing to save, and the first ends the process. It is left to Ray where this is not
    the main thread, which alone may say what a signal does.

    Raises:
        KeyboardInterrupt: A SIGTERM came, and the run ended before it reacted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    channel.clear()
    requested = threading.Event()

    def handle(number: int, frame: object) -> None:
        if requested.is_set():
            sys.exit(1)
        requested.set()

    def ask() -> None:  # not in the handler, which may interrupt a call into Ray
        requested.wait()
        if over.is_set():
            return
        if channel.under_way():
            print("saving a checkpoint, then ending; a second SIGTERM ends at once", file=sys.stderr, flush=True)
            channel.ask_to_end()
            return
        signal.raise_signal(signal.SIGTERM)
        while not over.wait(RETRY_SECONDS):  # Ray swallows an exception that reaches one of its callbacks: try again
            signal.raise_signal(signal.SIGTERM)

    over, asker = threading.Event(), threading.Thread(target=ask, name="attn-cancellation", daemon=True)
    before = signal.signal(signal.SIGTERM, handle)
    asker.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        late = requested.is_set()
        over.set()
        requested.set()
        asker.join()
    if late:
        raise KeyboardInterrupt
