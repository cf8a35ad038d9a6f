"""Which folders and prefixes a process reads from, where it works for somebody who may not read all that its user may.

The service sets the limit for the processes of its jobs; without it nothing is limited.
"""

from __future__ import annotations

__all__ = ["PRIVATE", "VARIABLE", "lies_in", "limit_reading", "may_read"]

import functools
import json
import os
from collections.abc import Collection

from attn.config.base import is_remote

VARIABLE = "ATTN_DATA_ROOTS"
"""In the environment, so that processes which a job starts have the limit too: a JSON list."""
PRIVATE = ".service"
"""The folder of a root that is the service's own: nobody's job reads or writes there."""


def limit_reading(roots: Collection[str]) -> None:
    """From now on, let this process and those that it starts read data below these folders and prefixes alone."""
    os.environ[VARIABLE] = json.dumps(list(roots))


def may_read(location: str) -> bool:
    """Whether this process reads a location for whom it works."""
    given = os.environ.get(VARIABLE)
    return given is None or any(lies_in(location, root) for root in _roots(given))


def lies_in(location: str, root: str) -> bool:
    """Whether a location is a folder or prefix or lies below it, by links too, and not in the service's own part of it.

    What two texts say of one another is not asked: a link or `..` may lead out of a folder whose name comes first.
    """
    if is_remote(location) != is_remote(root):
        return False
    parts = location.rstrip("/").split("/")
    if is_remote(location):
        above = root.rstrip("/").split("/")
        below = parts[len(above) :] if parts[: len(above)] == above else None
    else:
        try:
            below = _below(os.path.realpath(location), _real(root))
        except ValueError:  # not a file's name
            return False
    return below is not None and not {"..", ".", PRIVATE} & set(below)


def _below(path: str, folder: str) -> list[str] | None:
    inside = path == folder or path.startswith(folder.rstrip("/") + "/")
    return path[len(folder) :].split("/") if inside else None


@functools.lru_cache(maxsize=64)
def _real(root: str) -> str:
    return os.path.realpath(root)


@functools.lru_cache(maxsize=4)
def _roots(given: str) -> tuple[str, ...]:
    return tuple(json.loads(given))
