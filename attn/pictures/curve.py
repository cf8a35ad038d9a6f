"""Plots of scores over a threshold, or over a share of the pixels."""

from __future__ import annotations

__all__ = ["score_curves"]

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from attn.display import percent
from attn.pictures.layout import Picture
from attn.pictures.text import plot_text

STYLES = (
    ("#2a6fbb", "-"),
    ("#d1495b", "--"),
    ("#1d8f6b", "-."),
    ("#8a5fbf", ":"),
    ("#a86f00", (0, (5, 1, 1, 1, 1, 1))),
)
"""Colour and dashes of each line: dashes tell lines apart where colours do not."""


def score_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    mark: float | None = None,
    title: str = "",
    across: str = "threshold (percent of the map's maximum)",
) -> Picture:
    """Plot scores in [0, 1] in percent, one line per name.

    Args:
        mark: The best threshold.
        title: May have several lines.
        across: What the scores are over, in percent.
    """
    # Without pyplot, which would look for a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, points), (color, dashes) in zip(curves.items(), cycle(STYLES), strict=False):
        shares = [(100 * x, 100 * y) for x, y in points]
        axes.plot(*zip(*shares, strict=True), label=name, color=color, linestyle=dashes, linewidth=2)
    if mark is not None:
        axes.axvline(100 * mark, color="#666666", linewidth=1, label=f"best threshold: {percent(mark)} %")
    axes.set(xlim=(0, 100), ylim=(0, 100), title="\n".join(map(plot_text, title.splitlines())))
    axes.set(xlabel=across, ylabel="score (percent)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())
