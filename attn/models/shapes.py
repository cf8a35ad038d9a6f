"""Networks of shapes alone: no weights, no arithmetic."""

from __future__ import annotations

__all__ = ["shapes_only"]

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SAME_SHAPE = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.nn.functional.batch_norm, torch.batch_norm)
"""What gives the shape of its first argument. Some of `torch.nn.init` is not seen here, and calls the first two."""


@contextlib.contextmanager
def shapes_only() -> Generator[None]:
    """Within, modules have parameters with a shape and no values, and give tensors with a shape and no values.

    Initialisation and batch normalisation are left out: on the meta device PyTorch does them by way of its compiler,
    whose import takes seconds.
    """
    with torch.device("meta"), _ShapesOnly():
        yield


class _ShapesOnly(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in SAME_SHAPE or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
