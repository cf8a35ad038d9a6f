"""Results as lines that a person reads."""

from __future__ import annotations

__all__ = ["print_tree"]

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def print_tree(console: Console, data: dict[str, Any]) -> None:
    """One line a value, nested names joined by dots, values in one column."""
    from rich.text import Text

    rows = list(_leaves(data, ""))
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(Text(f"{name:<{width}}  ", style="dim") + Text(value))


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
