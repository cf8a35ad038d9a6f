"""Values of tables as names: CSV has text alone, Parquet and NPZ have numbers, bytes and several kinds of nothing."""

from __future__ import annotations

__all__ = ["path_of", "shown", "text_of"]

import reprlib
from decimal import Decimal
from typing import Any

import numpy as np

from attn.errors import DataError

LONGEST = 4096
"""Characters of a name or path; no file system allows more."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def text_of(value: Any) -> str:
    """A value as a name; empty where there is none (null, NaN, blank).

    A whole number is the same name whatever its type, because programs turn integers into floats where a column has
    nulls: 3, 3.0 and "3" are "3".

    Raises:
        DataError: The value is no text and no number.
    """
    value = value.item() if isinstance(value, np.generic) else value
    match value:
        case None:
            return ""
        case str():
            return _bounded(value).strip()
        case bytes():
            return _bounded(_decoded(value)).strip()
        case bool() | int():
            return str(value)
        case float() | Decimal():
            if value != value:
                return ""
            return str(int(value)) if value % 1 == 0 else str(value)
        case _:
            raise DataError(f"{_kind(value)} is neither text nor a number")


def path_of(value: Any) -> str | None:
    """A value as a path, exactly as it is written; None where there is none (null, NaN, blank).

    Raises:
        DataError: The value is no text.
    """
    if isinstance(value, str):
        return _bounded(value) if value.strip() else None
    if value is None or value != value:
        return None
    raise DataError(f"{_kind(value)} is no path")


def shown(value: Any) -> str:
    """A value for a message: a cell may hold a whole file."""
    return _SHORT.repr(value)


def _bounded(text: str) -> str:
    if len(text) > LONGEST:
        raise DataError(f"a text of {len(text)} characters; a name or path has at most {LONGEST}")
    return text


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError("bytes that are not UTF-8 text") from None


def _kind(value: Any) -> str:
    """The type of an invalid value: messages do not quote the value."""
    return f"a value of type {type(value).__name__}"
