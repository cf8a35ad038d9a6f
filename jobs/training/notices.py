"""Messages for the user before a run starts, which do not stop it."""

from __future__ import annotations

__all__ = ["tell_notices"]

import sys
from collections.abc import Iterable


def tell_notices(notices: Iterable[str]) -> None:
    """Print each on stderr."""
    for notice in notices:
        print(f"notice: {notice}", file=sys.stderr)
