"""Networks with shapes only: no weights, no arithmetic."""

from __future__ import annotations

__all__ = ["shapes_only"]

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SAME_SHAPE = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.nn.functional.batch_norm, torch.batch_norm)
"""Functions whose result has the shape of the first argument. Parts of `torch.nn.init` are not intercepted, and call
the first two."""


@contextlib.contextmanager
def shapes_only() -> Generator[None]:
    """In this context, parameters and results of modules have shapes but no values (meta device).

    Initialisation and batch normalisation are skipped: on the meta device PyTorch runs them through its compiler, whose
    import takes seconds.
    """
    with torch.no_grad(), torch.device("meta"), _ShapesOnly():
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
