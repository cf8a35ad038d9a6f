"""Checks of values, at once or, in a training step, without making the host wait for a device."""

from __future__ import annotations

__all__ = ["deferred", "or_nan", "refuse"]

import contextlib
from collections.abc import Callable, Generator
from contextvars import ContextVar

import torch
from torch import Tensor

_DEFERRED: ContextVar[bool] = ContextVar("deferred", default=False)


@contextlib.contextmanager
def deferred() -> Generator[None]:
    """Inside the `with` block, `refuse` leaves values on another device than the CPU to `or_nan`.

    An error needs the values on the host, which then waits until the device has done all work before.
    """
    token = _DEFERRED.set(True)
    try:
        yield
    finally:
        _DEFERRED.reset(token)


def refuse(invalid: Tensor, describe: Callable[[], str]) -> Tensor | None:
    """Refuse invalid values; inside `deferred`, those on another device than the CPU by the result of `or_nan`.

    Args:
        invalid: bool, of any shape: which values are invalid.
        describe: Gives the message of the error.

    Returns:
        None if the values were checked, else a bool scalar: whether one is invalid.

    Raises:
        ValueError: A value is invalid.
    """
    if _DEFERRED.get() and invalid.device.type != "cpu":
        return invalid.any()
    if bool(invalid.any()):
        raise ValueError(describe())
    return None


def or_nan(result: Tensor, *refused: Tensor | None) -> Tensor:
    """The result, or NaN where `refuse` has deferred the check of an invalid value."""
    for invalid in refused:
        if invalid is not None:
            result = torch.where(invalid, torch.nan, result)
    return result
