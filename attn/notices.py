"""Notices about old spellings that still work."""

from __future__ import annotations

__all__ = ["print_once", "renamed"]

import contextlib
import functools
import sys

from attn.redaction import without_secrets
from attn.wording import escape_controls, shorten

DROPPED_IN = "0.3"
"""The version that drops the spellings that were renamed in this one."""
LONGEST = 300
"""Characters of a spelling in a notice."""


REMEMBERED = 256
"""Lines that are not printed again. The spellings may be a client's text, so not all that ever came are kept."""


def renamed(old: str, new: str) -> None:
    """Say on standard error, in one line, that `old` is now spelled `new`; once per process and pair.

    Secrets in URIs are replaced, and control characters escaped. A standard error that is closed is no fault.
    """
    print_once(f"note: `{_shown(old)}` is now `{_shown(new)}`; version {DROPPED_IN} will drop the old spelling")


@functools.lru_cache(REMEMBERED)
def print_once(line: str) -> None:
    """Print a line on standard error, the first time it is given."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)


def _shown(spelling: str) -> str:
    return escape_controls(shorten(without_secrets(spelling), LONGEST))
