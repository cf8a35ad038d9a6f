"""One field's values in a sweep, and the points that grid and random search make of several."""

from __future__ import annotations

__all__ = ["MOST_TRIALS", "Dimension", "Point", "Scalar", "grid_points", "random_points"]

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from attn.config.base import Config

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_TRIALS = 10_000
"""Of a sweep: more would not end, and their points alone could fill the memory."""
Scalar = bool | int | float | str | None
Point = dict[str, Scalar]
"""A value for each field, by its dotted name."""


class Dimension(Config):
    """The values that a sweep may give to one field: choices, or a range.

    Attributes:
        choices: The values themselves; in a file, a plain list says the same.
        low, high: Ends of a range, both within it.
        log: Spread evenly over the logarithm.
        integer: Whole numbers only.
        count: Into how many values grid search divides the range.
    """

    choices: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    count: int | None = Field(default=None, ge=2, le=MOST_TRIALS)

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what is set: the other fields of a range say nothing of choices."""
        return {name: value for name, value in serialize(self).items() if value is not None and value is not False}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.integer or self.count:
                raise ValueError("choices stand alone: leave out low, high, log, integer and count")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("choices has a value twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give a list of values, or low and high")
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g} must be below high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, not {self.low:g}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("integer needs whole low and high")
        return self

    def grid(self) -> tuple[Scalar, ...]:
        """The values of grid search, in order.

        Raises:
            ValueError: It is a range without `count`.
        """
        if self.choices is not None:
            return self.choices
        if self.count is None:
            raise ValueError("grid search needs a list of values, or a range with count")
        return tuple(dict.fromkeys(self.at(step / (self.count - 1)) for step in range(self.count)))

    def at(self, fraction: float) -> Scalar:
        """The value at a position in [0, 1] between the ends."""
        if self.choices is not None:
            return self.choices[min(int(fraction * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None
        assert self.high is not None
        if self.log:
            value = math.exp(math.log(self.low) + fraction * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + fraction * (self.high - self.low)
        value = min(max(value, self.low), self.high)  # exp(log(x)) may be a bit beyond x
        return round(value) if self.integer else value

    def nearest(self, value: Any) -> Scalar:
        """The value of a range that is nearest to another; of choices, which have no order, the value itself."""
        if self.choices is not None:
            return value
        assert self.low is not None
        assert self.high is not None
        value = min(max(float(value), self.low), self.high)
        return round(value) if self.integer else value

    def ends(self) -> tuple[Scalar, ...]:
        """Every choice, or both ends of the range: what a field must be able to take."""
        return self.choices if self.choices is not None else (self.at(0), self.at(1))

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is not None:
            return CategoricalDistribution(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def grid_points(space: Mapping[str, Dimension]) -> list[Point]:
    """Every combination of the dimensions' values, the last dimension changing fastest."""
    return [
        dict(zip(space, values, strict=True))
        for values in itertools.product(*(dimension.grid() for dimension in space.values()))
    ]


def random_points(space: Mapping[str, Dimension], count: int, seed: int) -> list[Point]:
    """Independent uniform draws; the first ones stay the same when more are asked for."""
    generator = np.random.default_rng(seed)
    fractions: Any = generator.random((count, len(space)))
    return [
        {name: dimension.at(float(fraction)) for (name, dimension), fraction in zip(space.items(), row, strict=True)}
        for row in fractions
    ]
