"""Processes that begin with what they need imported: one process imports it for all of them, and they are its forks."""

from __future__ import annotations

__all__ = ["forking"]

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

_imported: dict[int, set[str]] = {}


def forking(*modules: str) -> ForkServerContext:
    """A context whose processes are forks of one that has imported these modules.

    Python has one such process, with the imports of whoever started it, for instance a data loader. One that lacks some
    of these is replaced.
    """
    context = multiprocessing.get_context("forkserver")
    server: Any = forkserver._forkserver  # pyright: ignore[reportAttributeAccessIssue]
    if set(modules) <= _imported.get(server._forkserver_pid, set()):
        return context
    server._stop()
    context.set_forkserver_preload([*modules, "tests.frozen"])
    forkserver.ensure_running()
    _imported[server._forkserver_pid] = set(modules)
    return context
