"""The thresholds at which maps were scored, in words."""

from __future__ import annotations

__all__ = ["REFINED", "separates", "threshold_lines", "threshold_of"]

from collections.abc import Mapping

from attn.display import percent
from attn.evaluation.score import Score

REFINED = (
    "direct_miou is at a fixed share of a map's maximum, which says little about refined maps: their values spread "
    "otherwise; compare direct_miou_best"
)
"""The note of an evaluation with a direct score of refined maps."""


def threshold_of(score: Score) -> float | None:
    """The threshold at which maps were scored; None for other scores."""
    value = score.extras.get("threshold")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def separates(threshold: float) -> bool:
    """Whether masks at a threshold are of a part of each map: at 0 they are all of it, and at 1 none."""
    return 0 < threshold < 1


def threshold_lines(values: Mapping[str, float], at: Mapping[str, float]) -> list[str]:
    """A line for each protocol of maps, with the score at a fixed threshold beside that at the best one.

    Args:
        values: Scores by name.
        at: Thresholds of those that have one.
    """

    def words(name: str) -> str:
        return f"{percent(values[name])} at {100 * at[name]:g} %"

    lines: list[str] = []
    if "seed_miou" in at:
        best = "the best for these masks"
        if not separates(at["seed_miou"]):
            best += ": no threshold of these maps tells objects from background"
        lines.append(f"seed: {words('seed_miou')} of a map's maximum, {best}")
    if {"direct_miou", "direct_miou_best"} <= at.keys():
        lines.append(f"direct: {words('direct_miou')}, which is fixed; {words('direct_miou_best')}, the best")
    return lines
