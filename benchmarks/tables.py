"""Markdown tables of scores."""

from __future__ import annotations

__all__ = ["Scored", "mean_and_spread", "score_lines", "table_lines"]

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Scored = Mapping[str, Sequence[Mapping[str, float]]]
"""The scores of each seed, by row."""


def table_lines(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading), *(f"| {' | '.join(row)} |" for row in rows)]


def score_lines(first: str, columns: Mapping[str, str], scored: Scored) -> list[str]:
    """A Markdown table's lines: the mean over each row's seeds and half the range; rows without seeds are left out.

    Args:
        first: Heading of the row's name, which may have several cells with ` | ` between them; so may the names.
        columns: Heading by score.
    """
    rows = [
        (row, str(len(seeds)), *(mean_and_spread([seed[name] for seed in seeds if name in seed]) for name in columns))
        for row, seeds in scored.items()
        if seeds
    ]
    return table_lines((*first.split(" | "), "seeds", *columns.values()), rows)


def mean_and_spread(values: Sequence[float]) -> str:
    """A mean in percent and half the range behind it; of one value no range."""
    if not values:
        return "-"
    scaled = 100 * np.array(values)
    mean = f"{scaled.mean():.1f}"
    return mean if len(values) == 1 else f"{mean} ± {(scaled.max() - scaled.min()) / 2:.1f}"
