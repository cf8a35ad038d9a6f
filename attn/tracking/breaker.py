"""When to ask a server again that did not answer."""

from __future__ import annotations

__all__ = ["Breaker"]

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 600.0


@dataclass
class Breaker:
    """Lets no request through for a while after one has failed: twice as long each time, up to ten minutes.

    Attributes:
        clock: Seconds that only go on.
    """

    clock: Callable[[], float] = time.monotonic
    pause: float = 0.0
    until: float = 0.0

    @property
    def lets_through(self) -> bool:
        """Whether to ask now."""
        return not self.pause or self.clock() >= self.until

    def failed(self) -> bool:
        """Note a failure; whether it is the first since all was well."""
        first = not self.pause
        self.pause = min(max(FIRST_PAUSE_S, 2 * self.pause), LONGEST_PAUSE_S)
        self.until = self.clock() + self.pause
        return first

    def succeeded(self) -> None:
        """Note that the server answers."""
        self.pause = 0.0
