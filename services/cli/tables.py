"""Prints results as lines for people; lines are never wrapped, so that other programs can split them."""

from __future__ import annotations

__all__ = ["print_rows", "print_table", "print_tree"]

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attn.display import figure, is_share
from attn.wording import escape_controls

if TYPE_CHECKING:
    from rich.console import Console

SMALL = 0.001


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


def print_table(console: Console, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under headings; a column without any content is left out."""
    kept = [column for column, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    print_rows(console, [tuple(row[column] for column in kept) for row in (heads, *rows)])


def print_tree(console: Console, data: dict[str, Any]) -> None:
    """Print one line per value, with nested names joined by dots and values in one column."""
    print_rows(console, list(_leaves(data, "")))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, float):
        yield name, _number(name, value)
    elif isinstance(value, list):
        yield name, ", ".join(_number(name, item) if isinstance(item, float) else str(item) for item in value)
    else:
        yield name, "-" if value is None else str(value)


def _number(name: str, value: float) -> str:
    """A score in percent; another number with four decimals, or with three digits where those would show zero."""
    last = name.rpartition(".")[2]
    return figure(last, value) if is_share(last) or not 0 < abs(value) < SMALL else f"{value:.3g}"
