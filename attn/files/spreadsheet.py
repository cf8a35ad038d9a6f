"""Tables as CSV that spreadsheets open without taking a text for a formula."""

from __future__ import annotations

__all__ = ["csv_rows", "csv_table"]

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from attn.wording import escape_controls

FORMULA = ("=", "+", "-", "@", "\t", "\n")
"""First characters by which a spreadsheet takes a cell for a formula; a name in somebody's data may begin with one."""


def csv_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, one line a row.

    A text like a formula gets a `'` in front, and control characters are escaped. None is an empty cell.
    """
    return csv_rows([header]) + csv_rows(rows)


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Rows of a table without its header, as `csv_table` writes them."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return lines.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = escape_controls(value)
    return f"'{text}" if text.startswith(FORMULA) else text
