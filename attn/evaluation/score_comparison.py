"""Compares two sets of scores: scores of the same protocol are compared, others are listed with the differences."""

from __future__ import annotations

__all__ = ["ScoreComparison", "compare_scores"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from attn.evaluation.score import Comparison, Score, compare

Side = Literal["a", "b"]
"""The first of two sets, or the second."""


@dataclass(frozen=True)
class ScoreComparison:
    """The comparison of two sets of scores.

    Attributes:
        compared: (first, second, comparison) for each name and protocol that both sets have.
        apart: (first, second, differences of their protocols) for each name that both sets have, but with no protocol
            in common.
        alone: (name, side) for each name that only the first or only the second set has.
    """

    compared: tuple[tuple[Score, Score, Comparison], ...]
    apart: tuple[tuple[Score, Score, tuple[str, ...]], ...]
    alone: tuple[tuple[str, Side], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values: `compared`, and `not_compared` with the reason, and `only` the one that has the score."""
        compared = [
            {"name": a.name, "a": a.value, "b": b.value, "difference": item.difference, "protocol": a.hash}
            for a, b, item in self.compared
        ]
        not_compared: list[dict[str, Any]] = [
            {"name": a.name, "a": a.value, "b": b.value, "protocols": [a.hash, b.hash], "why": list(why)}
            for a, b, why in self.apart
        ]
        not_compared += [
            {"name": name, "only": side, "why": [f"only {side} has this score"]} for name, side in self.alone
        ]
        return {"compared": compared, "not_compared": not_compared}


def compare_scores(a: Iterable[Score], b: Iterable[Score]) -> ScoreComparison:
    """Compare two sets of scores. Of several scores of one name and protocol in a set, the last counts."""
    first = {(score.name, score.hash): score for score in a}
    second = {(score.name, score.hash): score for score in b}
    common = [key for key in first if key in second]
    compared = tuple((first[key], second[key], compare(first[key], second[key])) for key in common)
    names = {name for name, _ in common}
    left = {name: score for (name, _), score in first.items() if name not in names}
    right = {name: score for (name, _), score in second.items() if name not in names}
    apart = tuple((left[name], right[name], _why(left[name], right[name])) for name in left if name in right)
    sides: dict[str, Side] = {**dict.fromkeys(left, "a"), **dict.fromkeys(right, "b")}
    alone: tuple[tuple[str, Side], ...] = tuple((name, sides[name]) for name in sorted(left.keys() ^ right.keys()))
    return ScoreComparison(compared, apart, alone)


def _why(a: Score, b: Score) -> tuple[str, ...]:
    return compare(a, b, despite_protocol=True).protocol_differences
