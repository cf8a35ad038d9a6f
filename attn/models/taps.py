"""Reads, or replaces, what a module inside a network computes, without hooks.

A module that was tapped once computes as before. Within `watching`, its results go through the given functions. Forward
hooks would not do: they belong to the module, so two threads that use one network would see each other's features.
"""

from __future__ import annotations

__all__ = ["tap", "watching"]

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from torch import Tensor, nn

Watcher = Callable[[Tensor], Tensor]

_WATCHERS: ContextVar[Mapping[nn.Module, Watcher] | None] = ContextVar("watchers", default=None)


def tap(module: nn.Module) -> None:
    """Let `watching` see a module's results; its parameters and its class's behaviour stay."""
    if not isinstance(module, _Tapped):
        module.__class__ = _tapped(type(module))


@contextmanager
def watching(watchers: Mapping[nn.Module, Watcher]) -> Generator[None]:
    """In this context and thread, the results of tapped modules are what the functions return for them."""
    token = _WATCHERS.set(watchers)
    try:
        yield
    finally:
        _WATCHERS.reset(token)


class _Tapped(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        result = super().forward(*args, **kwargs)
        watcher = (_WATCHERS.get() or {}).get(self)
        return result if watcher is None else watcher(result)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles by the tapped class, since no name leads to this one's."""
        return _new, (type(self).__bases__[1],), self.__getstate__()


@cache
def _tapped(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (_Tapped, kind), {})


def _new(kind: type[nn.Module]) -> nn.Module:
    tapped = _tapped(kind)
    return tapped.__new__(tapped)
