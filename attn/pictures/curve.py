"""Plots of scores over a threshold."""

from __future__ import annotations

__all__ = ["threshold_curves"]

from collections.abc import Mapping, Sequence

import numpy as np

from attn.pictures.layout import Picture

COLORS = ("#2a6fbb", "#d1495b", "#2e9e6b", "#8a5fbf", "#c98a1b")


def threshold_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, mark: float | None = None, title: str = ""
) -> Picture:
    """Plot values in [0, 1] over the threshold of a map, one line per name; `mark` highlights a threshold."""
    # Without pyplot, which would look for a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, points), color in zip(curves.items(), COLORS * (1 + len(curves) // len(COLORS)), strict=False):
        axes.plot([x for x, _ in points], [y for _, y in points], label=name, color=color, linewidth=2)
    if mark is not None:
        axes.axvline(mark, color="#888888", linewidth=1, linestyle="--", label=f"best {mark:g}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold, as a share of the map's maximum", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())
