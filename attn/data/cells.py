"""Converts table cells to names: CSV only has text; Parquet and NPZ also have numbers, bytes and nulls."""

from __future__ import annotations

__all__ = ["path_of", "short_repr", "text_of"]

import reprlib
from decimal import Decimal
from typing import Any

import numpy as np

from attn.errors import DataError

MAX_LENGTH = 4096
"""Maximum characters of a name or path; no file system allows more."""
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def text_of(value: Any) -> str:
    """A cell as a name; empty for null, NaN and blank cells.

    3, 3.0 and "3" all become "3", because programs turn integers into floats if a column has nulls.

    Raises:
        DataError: The value is neither text nor a number.
    """
    value = value.item() if isinstance(value, np.generic) else value
    match value:
        case None:
            return ""
        case str():
            return _checked_length(value).strip()
        case bytes():
            return _checked_length(_decoded(value)).strip()
        case bool() | int():
            return str(value)
        case float() | Decimal():
            if value != value:
                return ""
            return str(int(value)) if value % 1 == 0 else str(value)
        case _:
            raise DataError(f"{_kind(value)} is neither text nor a number")


def path_of(value: Any) -> str | None:
    """A cell as a path, unchanged; None for null, NaN and blank cells.

    Raises:
        DataError: The value is not text.
    """
    if isinstance(value, str):
        return _checked_length(value) if value.strip() else None
    if value is None or value != value:
        return None
    raise DataError(f"{_kind(value)} is not a path")


def short_repr(value: Any) -> str:
    """A shortened `repr` for messages; a cell may contain a whole file."""
    return _REPR.repr(value)


def _checked_length(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise DataError(f"a text of {len(text)} characters; names and paths have at most {MAX_LENGTH}")
    return text


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError("bytes that are not UTF-8 text") from None


def _kind(value: Any) -> str:
    """The type of an invalid value; messages do not quote the value itself."""
    return f"a value of type {type(value).__name__}"
