"""Time since a moment that any process has noted, even if the wall clock was set since."""

from __future__ import annotations

__all__ = ["Moment", "boot_id"]

import functools
import time
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def boot_id() -> str | None:
    """The kernel's id of this start of the machine; None on systems without one."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None


@dataclass(frozen=True)
class Moment:
    """A moment by two clocks.

    Attributes:
        time: Of the wall clock: seconds since 1970.
        clock: `BOOT:SECONDS`, counted from the start of the machine, suspended time included: every process of the
            machine counts the same. None where the system has no such clock, or an earlier version noted the moment.
    """

    time: float
    clock: str | None = None

    @classmethod
    def now(cls) -> Moment:
        seconds = _seconds_since_boot()
        return cls(time.time(), None if seconds is None else f"{boot_id()}:{seconds:.3f}")

    def seconds_ago(self) -> float:
        """Seconds since then, never less than 0.

        By the machine's clock where this machine noted the moment and has not been started anew; else by the wall
        clock, which is all that two machines have in common.
        """
        boot, _, noted = (self.clock or "").partition(":")
        seconds = _seconds_since_boot()
        if seconds is not None and boot == boot_id():
            try:
                return max(0.0, seconds - float(noted))
            except ValueError:
                pass  # damaged: the other clock remains
        return max(0.0, time.time() - self.time)


def _seconds_since_boot() -> float | None:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None or boot_id() is None else time.clock_gettime(clock)
