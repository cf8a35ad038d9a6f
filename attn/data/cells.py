"""Values of tables as names: CSV has text alone, Parquet and NPZ have numbers, bytes and several kinds of nothing."""

from __future__ import annotations

__all__ = ["path_of", "text_of"]

from decimal import Decimal
from typing import Any

import numpy as np

from attn.errors import DataError


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
            return value.strip()
        case bytes():
            return _decoded(value).strip()
        case bool() | int():
            return str(value)
        case float() | Decimal():
            if value != value:
                return ""
            return str(int(value)) if value % 1 == 0 else str(value)
        case _:
            raise DataError(f"{value!r} is neither text nor a number")


def path_of(value: Any) -> str | None:
    """A value as a path, exactly as it is written; None where there is none (null, NaN, blank).

    Raises:
        DataError: The value is no text.
    """
    if isinstance(value, str):
        return value if value.strip() else None
    if value is None or value != value:
        return None
    raise DataError(f"{value!r} is no path")


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{value!r} is not UTF-8 text") from None
