"""A circuit breaker: when to retry a server that did not answer."""

from __future__ import annotations

__all__ = ["CircuitBreaker"]

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 600.0


@dataclass
class CircuitBreaker:
    """Blocks requests for a while after a failure, with a pause that doubles up to ten minutes.

    Attributes:
        clock: A monotonic clock in seconds.
        pause: The current pause; 0: the server answers.
        until: Time until which requests are blocked.
    """

    clock: Callable[[], float] = time.monotonic
    pause: float = 0.0
    until: float = 0.0

    @property
    def allows_request(self) -> bool:
        """Return whether to send a request now."""
        return not self.pause or self.clock() >= self.until

    def record_failure(self) -> bool:
        """Record a failure; returns True for the first one after a success."""
        first = not self.pause
        self.pause = min(max(FIRST_PAUSE_S, 2 * self.pause), LONGEST_PAUSE_S)
        self.until = self.clock() + self.pause
        return first

    def record_success(self) -> None:
        """Record that the server answered."""
        self.pause = 0.0
