"""Texts for any terminal: signs that its encoding lacks are spelled, and no output fails for them."""

from __future__ import annotations

__all__ = ["print_foreign", "spell_what_is_lacking", "without_controls"]

import codecs
import io
import re
import sys
from collections.abc import Iterable, Iterator

SPELLED = {"×": "x", "·": "*", "−": "-", "–": "-", "→": "->", "…": "...", "≥": ">=", "≤": "<="}
NAME = "attn.spelled"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def spell_what_is_lacking() -> None:
    """Have standard output and error write signs that they cannot encode by others: `x` for `×`, `\\xe4` for `ä`."""
    codecs.register_error(NAME, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed; something else where it is caught
            stream.reconfigure(errors=NAME)


def without_controls(text: str) -> str:
    """A text of somebody else that moves no cursor and changes no colour: what would is spelled, but for line ends."""
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def print_foreign(pieces: Iterable[bytes]) -> Iterator[int]:
    """Write what others have written to standard output, byte for byte; where a person looks at it, without controls.

    Yields:
        Bytes of each piece, once it is written.
    """
    shown, text = sys.stdout.isatty(), codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        if shown:
            sys.stdout.write(without_controls(text.decode(piece)))
        else:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        yield len(piece)


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(map(_bytes_of, lacking)), error.end


def _bytes_of(sign: str) -> bytes:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file's name that is no text: written as it is
        return sign.encode("ascii", "surrogateescape")
    return SPELLED.get(sign, sign).encode("ascii", "backslashreplace")
