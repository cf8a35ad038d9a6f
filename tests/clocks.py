"""Clocks that stand still, pass and are set as a test wants, in the place of the real ones of some modules."""

from __future__ import annotations

__all__ = ["Clocks"]

import time
from collections.abc import Sequence
from types import ModuleType

import pytest


class Clocks:
    """What `time` is to the modules that are given it.

    Attributes:
        wall: The time of day, which people and NTP set.
        up: Seconds since the machine started, which nobody sets.
    """

    CLOCK_BOOTTIME = 7

    def __init__(self, monkeypatch: pytest.MonkeyPatch, modules: Sequence[ModuleType]) -> None:
        self.wall, self.up = time.time(), 5000.0
        for module in modules:
            monkeypatch.setattr(module, "time", self)

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.up

    def clock_gettime(self, clock: int) -> float:
        assert clock == self.CLOCK_BOOTTIME
        return self.up

    def go_by(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.up += seconds

    def step(self, seconds: float) -> None:
        """Set the time of day."""
        self.wall += seconds
