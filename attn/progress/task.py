"""One piece of long work: how much of it is done, how fast it goes and how long it will still take."""

from __future__ import annotations

__all__ = ["Task"]

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

WINDOW_SECONDS = 30.0
"""The speed is that of the last half minute at least, of the last half of the time if the work lasts longer."""
SAMPLE_SECONDS = 0.2


class Task:
    """What a long piece of work reports. Any thread may call it.

    Attributes:
        what: Name of the work, such as `maps`.
        total: Amount of work; None if it is not known.
        unit: What is counted, such as `images`; `bytes` are shown as MiB. Empty: nothing is counted.
        patience: Seconds before the task is shown at all; short work is then never shown.
        timed: Whether speed and time left mean something.
        done: Amount of work that is done.
        kept: How much of it an earlier attempt had done.
        detail: More about the work, such as a loss.
        begun: Time of the beginning, by `time.monotonic`.
        listener: Is called after each report.
    """

    def __init__(
        self, what: str, total: float | None = None, unit: str = "", *, patience: float = 0.0, timed: bool = True
    ) -> None:
        self.what, self.total, self.unit, self.patience, self.timed = what, total, unit, patience, timed
        self.done, self.kept, self.detail = 0.0, 0.0, ""
        self.begun = time.monotonic()
        self.listener: Callable[[Task], None] | None = None
        self._speed: str | None = None
        self._end: float | None = None
        self._samples = deque([(self.begun, 0.0)])
        self._lock = threading.Lock()

    def advance(self, count: float = 1) -> None:
        """Report that more is done."""
        with self._lock:
            self._move(self.done + count)
        self._tell()

    def update(
        self,
        done: float | None = None,
        *,
        total: float | None = None,
        detail: str | None = None,
        speed: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Report how much is done in all.

        Args:
            speed: A speed that the work knows better, with its unit.
            seconds_left: Time left that the work knows better.
        """
        with self._lock:
            self.total = self.total if total is None else total
            self.detail = self.detail if detail is None else detail
            self._speed = self._speed if speed is None else speed
            if seconds_left is not None:
                self._end = time.monotonic() + seconds_left
            if done is not None:
                self._move(done)
        self._tell()

    def speed(self) -> float | None:
        """Amount of work a second; None before the first report."""
        with self._lock:
            (first, before), (last, now) = self._samples[0], self._samples[-1]
        return (now - before) / (last - first) if last > first and now > before else None

    def speed_text(self) -> str:
        """The speed with its unit; empty if there is none."""
        if self._speed is not None:
            return self._speed
        speed = self.speed() if self.timed and self.unit else None
        if speed is None:
            return ""
        return f"{speed / 2**20:.1f} MiB/s" if self.unit == "bytes" else f"{_number(speed)} {self.unit}/s"

    def seconds_left(self) -> float | None:
        """Time left; None if it is not known."""
        if self._end is not None:
            return max(0.0, self._end - time.monotonic())
        speed = self.speed() if self.timed else None
        if speed is None or self.total is None:
            return None
        since = time.monotonic() - self._samples[-1][0]
        return max(0.0, (self.total - self.done) / speed - since)

    def share(self) -> float | None:
        """The part that is done, 0 to 1; None if the total is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self.begun

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process has no listener."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "listener")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), listener=None)

    def _tell(self) -> None:
        if self.listener is not None:
            self.listener(self)

    def _move(self, done: float) -> None:
        now = time.monotonic()
        if done < self.done:  # begun again
            self._samples.clear()
            self._samples.append((now, done))
        self.done = done
        if len(self._samples) > 2 and now - self._samples[-2][0] < SAMPLE_SECONDS:
            self._samples.pop()  # enough for a speed, however often work is reported
        self._samples.append((now, done))
        window = max(WINDOW_SECONDS, (now - self.begun) / 2)
        while len(self._samples) > 2 and self._samples[1][0] < now - window:
            self._samples.popleft()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
