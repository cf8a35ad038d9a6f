"""Learning-rate schedules: a factor on every group's rate as a function of the share of the run that is done.

A schedule has no state: the factor of a step does not depend on restarts.
"""

from __future__ import annotations

__all__ = ["Constant", "Cosine", "Poly", "ScheduleConfig", "Step"]

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Variant


class ScheduleConfig(Variant, tag="name"):
    """A schedule, chosen by `name`.

    Attributes:
        warmup: Share of the run over which the rate rises from near 0.
    """

    warmup: float = Field(default=0.0, ge=0, lt=1)

    def factor(self, fraction: float) -> float:
        """The factor in [0, 1] at a share of the run in [0, 1)."""
        ramp = 1.0 if fraction >= self.warmup else (fraction + 1e-3) / (self.warmup + 1e-3)
        return ramp * self.decay(fraction)

    def decay(self, fraction: float) -> float:
        raise TypeError(f"{type(self).__name__} does not say how it decays")


class Constant(ScheduleConfig):
    """No decay."""

    name: Literal["constant"] = "constant"

    def decay(self, fraction: float) -> float:
        return 1.0


class Step(ScheduleConfig):
    """Times `gamma` at each of the shares `at` of the run; OAA: at 2/3, by 0.1.

    Attributes:
        at: Shares of the run after which the rate falls, each above 0 and below 1.
        gamma: Factor at each of them.
    """

    name: Literal["step"] = "step"
    at: tuple[float, ...] = (2 / 3,)
    gamma: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(not 0 < share < 1 for share in self.at):
            raise ValueError("schedule.at holds shares of the run, each above 0 and below 1")
        return self

    def decay(self, fraction: float) -> float:
        return self.gamma ** sum(fraction >= share for share in self.at)


class Poly(ScheduleConfig):
    """(1 - fraction) ** power, as DeepLab trains.

    Attributes:
        power: Exponent.
    """

    name: Literal["poly"] = "poly"
    power: float = Field(default=0.9, gt=0)

    def decay(self, fraction: float) -> float:
        return (1 - min(fraction, 1.0)) ** self.power


class Cosine(ScheduleConfig):
    """Half a cosine from 1 to `final`.

    Attributes:
        final: Factor at the end of the run.
    """

    name: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)

    def decay(self, fraction: float) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
