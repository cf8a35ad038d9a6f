"""A score over two fields as a heat map."""

from __future__ import annotations

__all__ = ["heat_map"]

from collections.abc import Sequence

import numpy as np

from attn.display import percent
from attn.pictures.layout import Picture
from attn.pictures.text import plot_text

COLORS = "cividis"
"""A colour map that looks the same to nearly everyone, and whose lightness rises."""


def heat_map(
    values: Sequence[Sequence[float | None]],
    *,
    rows: tuple[str, Sequence[float]],
    columns: tuple[str, Sequence[float]],
    title: str,
) -> Picture:
    """Draw scores in [0, 1] in percent, the cell of the highest framed and starred.

    Args:
        values: By row and column; None where a score is undefined.
        rows: What the rows are, for the axis, and the value of each; `columns` likewise.
    """
    # Without pyplot, which would look for a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    scores = np.array([[np.nan if value is None else 100 * value for value in row] for row in values])
    size = (2.4 + 0.62 * scores.shape[1], 1.7 + 0.32 * scores.shape[0])
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(scores, cmap=COLORS, aspect="auto", origin="lower")
    figure.colorbar(shown, ax=axes, label="percent")
    axes.set_yticks(range(len(rows[1])), [f"{value:g}" for value in rows[1]])
    axes.set_xticks(range(len(columns[1])), [f"{value:g}" for value in columns[1]])
    axes.set(xlabel=columns[0], ylabel=rows[0], title=plot_text(title))
    middle = (np.nanmin(scores) + np.nanmax(scores)) / 2
    best = np.unravel_index(int(np.nanargmax(scores)), scores.shape)
    for row, column in np.ndindex(scores.shape):
        value = float(scores[row, column])
        text = percent(None if np.isnan(value) else value / 100) + ("★" if (row, column) == best else "")
        weight = "bold" if (row, column) == best else "normal"
        color = "black" if value > middle or np.isnan(value) else "white"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9, fontweight=weight)
    axes.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, edgecolor="#d1495b", linewidth=3))
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())
