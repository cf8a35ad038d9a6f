"""Whether the writing of a file was cut off by an error: Python closes a file in the same way then."""

from __future__ import annotations

__all__ = ["Since"]

import sys


class Since:
    """The time since this object was made."""

    def __init__(self) -> None:
        self._before = sys.exception()

    @property
    def raised(self) -> bool:
        """Whether an error has been raised since, and is being handled."""
        return sys.exception() not in (None, self._before)
