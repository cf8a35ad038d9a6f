"""Networks of shapes alone: no weights, no arithmetic."""

from __future__ import annotations

__all__ = ["shapes_only"]

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_)
"""Some of `torch.nn.init` is not asked about, but calls these."""


@contextlib.contextmanager
def shapes_only() -> Generator[None]:
    """Within, modules that are built have parameters with a shape and no values.

    Their initialisation is left out: for the meta device PyTorch imports its compiler to draw the random numbers that
    are then thrown away, which takes seconds.
    """
    with torch.device("meta"), _Uninitialized():
        yield


class _Uninitialized(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in RANDOM or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
