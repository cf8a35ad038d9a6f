"""Checks of values that do not make the host wait for a device."""

from __future__ import annotations

__all__ = ["or_nan", "refuse"]

from collections.abc import Callable

import torch
from torch import Tensor


def refuse(invalid: Tensor, describe: Callable[[], str]) -> Tensor | None:
    """Refuse invalid values: on the CPU at once, on another device by the result of `or_nan`.

    An error needs the values on the host, which then waits until the device has done all work before.

    Args:
        invalid: bool, of any shape: which values are invalid.
        describe: Gives the message of the error.

    Returns:
        None if the values were checked, else a bool scalar: whether one is invalid.

    Raises:
        ValueError: A value on the CPU is invalid.
    """
    if invalid.device.type != "cpu":
        return invalid.any()
    if bool(invalid.any()):
        raise ValueError(describe())
    return None


def or_nan(result: Tensor, *refused: Tensor | None) -> Tensor:
    """The result, or NaN where `refuse` has found an invalid value on another device than the CPU."""
    for invalid in refused:
        if invalid is not None:
            result = torch.where(invalid, torch.nan, result)
    return result
