"""Output for any terminal: characters that its encoding lacks are replaced, so that printing never fails."""

from __future__ import annotations

__all__ = ["print_foreign", "replace_unencodable"]

import codecs
import io
import sys
from collections.abc import Iterable, Iterator

from attn.wording import escape_controls

REPLACEMENTS = {"×": "x", "·": "*", "−": "-", "–": "-", "→": "->", "…": "...", "≥": ">=", "≤": "<="}
NAME = "attn.spelled"


def replace_unencodable() -> None:
    """Make standard output and error replace characters that they cannot encode: `x` for `×`, `\\xe4` for `ä`."""
    codecs.register_error(NAME, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if closed; another type if captured
            stream.reconfigure(errors=NAME)


def print_foreign(pieces: Iterable[bytes]) -> Iterator[int]:
    """Write foreign text to standard output: unchanged to a file or pipe, with escaped controls to a terminal.

    Yields:
        Number of bytes of each piece, once it is written.
    """
    shown, text = sys.stdout.isatty(), codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        if shown:
            sys.stdout.write(escape_controls(text.decode(piece)))
        else:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        yield len(piece)


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(map(_bytes_of, lacking)), error.end


def _bytes_of(character: str) -> bytes:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not valid text: written unchanged
        return character.encode("ascii", "surrogateescape")
    return REPLACEMENTS.get(character, character).encode("ascii", "backslashreplace")
