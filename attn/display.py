"""Numbers as people read them: scores in percent, durations and times. JSON, CSV and MLflow keep fractions and seconds.

Everything that is printed or drawn for people takes its numbers from here: tables of the command line, `attn ls` and
`attn show`, progress lines, a pipeline's stages, titles of pictures, model cards.
"""

from __future__ import annotations

__all__ = ["duration", "figure", "figures", "is_share", "key_scores", "local_time", "percent", "size"]

import math
from collections.abc import Mapping
from datetime import datetime

SHARES = frozenset(
    {
        "accuracy", "accuracy_top5", "coverage", "deletion", "direct_miou", "direct_miou_best", "energy", "insertion",
        "mean_ap", "mean_auc", "miou", "miou_all", "miou_crf", "pointing", "precision", "recall", "seed_miou",
        "seed_miou_agreement", "specificity",
        "cue_coverage", "cue_miou", "cue_miou_all", "cue_precision",
    }
)  # fmt: skip
"""Scores in [0, 1], by the last part of their names."""
KEY_SCORES = ("miou_crf", "miou", "seed_miou", "direct_miou", "mean_ap", "accuracy", "cue_miou_all", "coverage")
"""Scores by which runs are told apart, by the last part of the name, the most telling first."""
MOST_SCORES = 2
COUNTS = "store/"
"""Prefix of figures that count rows of a map store."""
NO_SCORES = ("train", "step", "store")
"""First parts of names that are losses and counts, whatever their last part."""


def percent(value: float | None, *, sign: str = "") -> str:
    """A fraction in percent with one decimal and without `%`, which the heading of the table says; `-` for none.

    Args:
        sign: `+` for a difference.
    """
    return "-" if value is None or math.isnan(value) else f"{100 * value:{sign}.1f}"


def is_share(name: str) -> bool:
    """Return whether a figure of this name is a fraction, shown in percent: `val/mean_ap` is one, a loss is not.

    A name may have a prefix, such as the split (`val/`) or `best/` of a sweep.
    """
    *prefixes, last = name.split("/")
    return last in SHARES and not any(prefix in NO_SCORES for prefix in prefixes)


def key_scores(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """The most telling scores of a run by name, two at most: those that are shares."""
    shares = {name: value for name, value in metrics.items() if is_share(name) and isinstance(value, int | float)}
    order = {name: place for place, name in enumerate(KEY_SCORES)}
    places = {name: order[last] for name in shares if (last := name.rpartition("/")[2]) in order}
    named = sorted(places, key=lambda name: places[name])
    return {name: shares[name] for name in (named or list(shares))[:MOST_SCORES]}


def figure(name: str, value: float | None) -> str:
    """One figure for a line without a heading: `87.6 %` of a score, `0.6931` of a loss, `26` rows, `-` of none."""
    if value is None or math.isnan(value):
        return "-"
    if name.startswith(COUNTS) and float(value).is_integer():
        return f"{value:.0f}"
    return f"{percent(value)} %" if is_share(name) else f"{value:.4f}"


def size(count: int) -> str:
    """A number of bytes: `640 bytes`, `3.2 kB`, `1.5 MB`, `2.0 GB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= 0.9995 * unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} byte{'s' * (count != 1)}"


def figures(values: Mapping[str, float | None]) -> str:
    """Figures with their names in one line: `train/loss 0.6931  val/mean_ap 87.6 %`."""
    return "  ".join(f"{name} {figure(name, value)}" for name, value in values.items())


def duration(seconds: float | None) -> str:
    """A duration by its two largest units: `8.5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; empty for none."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def local_time(seconds: float | None) -> str:
    """Seconds since 1970 as this machine's local time, `2026-11-30 08:12`; empty for none."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} (not a valid time)"
