"""Texts for any terminal: signs that its encoding lacks are spelled, and no output fails for them."""

from __future__ import annotations

__all__ = ["spell_what_is_lacking"]

import codecs
import io
import sys

SPELLED = {"×": "x", "·": "*", "−": "-", "–": "-", "→": "->", "…": "...", "≥": ">=", "≤": "<="}
NAME = "attn.spelled"


def spell_what_is_lacking() -> None:
    """Have standard output and error write signs that they cannot encode by others: `x` for `×`, `\\xe4` for `ä`."""
    codecs.register_error(NAME, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed; something else where it is caught
            stream.reconfigure(errors=NAME)


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(map(_bytes_of, lacking)), error.end


def _bytes_of(sign: str) -> bytes:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file's name that is no text: written as it is
        return sign.encode("ascii", "surrogateescape")
    return SPELLED.get(sign, sign).encode("ascii", "backslashreplace")
