"""Prints results as lines for people; lines are never wrapped, so that other programs can split them."""

from __future__ import annotations

__all__ = ["moment", "print_rows", "print_tree"]

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attn.wording import escape_controls

if TYPE_CHECKING:
    from rich.console import Console


def print_rows(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table with columns as wide as their widest cell, the first one bold."""
    from rich.text import Text

    rows = [tuple(escape_controls(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        line = Text(first, style="bold") + Text("".join(f"  {cell}" for cell in others), style="not bold")
        line.rstrip()
        console.print(line)


def print_tree(console: Console, data: dict[str, Any]) -> None:
    """Print one line per value, with nested names joined by dots and values in one column."""
    print_rows(console, list(_leaves(data, "")))


def moment(seconds: float | None) -> str:
    """Seconds since 1970 as a date and time."""
    from datetime import UTC, datetime

    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} (not a valid time)"


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, float):
        yield name, f"{value:.4f}"
    elif isinstance(value, list):
        yield name, ", ".join(f"{item:.4f}" if isinstance(item, float) else str(item) for item in value)
    else:
        yield name, "-" if value is None else str(value)
