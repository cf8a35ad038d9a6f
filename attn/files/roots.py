"""Limits the folders and prefixes from which a process reads data for a client of the service.

A client may have fewer permissions than the service's user, so the service sets the limit for the processes of its
jobs. Without a limit everything may be read.
"""

from __future__ import annotations

__all__ = ["SERVICE_FOLDER", "ROOTS_VARIABLE", "is_inside", "limit_reading", "may_read"]

import functools
import json
import os
from collections.abc import Collection

from attn.config.base import is_remote

ROOTS_VARIABLE = "ATTN_DATA_ROOTS"
"""Environment variable with the limit, a JSON list, so that child processes inherit it."""
SERVICE_FOLDER = ".service"
"""Folder below a root for the service's own files; no job may read or write there."""


def limit_reading(roots: Collection[str]) -> None:
    """From now on, let this process and its children read data only below these folders and prefixes."""
    os.environ[ROOTS_VARIABLE] = json.dumps(list(roots))


def may_read(location: str) -> bool:
    """Return whether this process may read a location."""
    given = os.environ.get(ROOTS_VARIABLE)
    return given is None or any(is_inside(location, root) for root in _roots(given))


def is_inside(location: str, root: str) -> bool:
    """Return whether a location is a root or lies below it, but not in the root's `SERVICE_FOLDER`.

    Local paths are resolved first, because a symbolic link or `..` may lead out of the root.
    """
    if is_remote(location) != is_remote(root):
        return False
    parts = location.rstrip("/").split("/")
    if is_remote(location):
        above = root.rstrip("/").split("/")
        children = parts[len(above) :] if parts[: len(above)] == above else None
    else:
        try:
            children = _below(os.path.realpath(location), _real(root))
        except ValueError:  # not a file's name
            return False
    return children is not None and not {"..", ".", SERVICE_FOLDER} & set(children)


def _below(path: str, folder: str) -> list[str] | None:
    inside = path == folder or path.startswith(folder.rstrip("/") + "/")
    return path[len(folder) :].split("/") if inside else None


@functools.lru_cache(maxsize=64)
def _real(root: str) -> str:
    return os.path.realpath(root)


@functools.lru_cache(maxsize=4)
def _roots(given: str) -> tuple[str, ...]:
    return tuple(json.loads(given))
