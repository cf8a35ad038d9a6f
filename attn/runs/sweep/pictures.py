"""A sweep's space: each searched field against the objective, as a picture and as a page for a browser."""

from __future__ import annotations

__all__ = ["distinct_labels", "log_ticks", "space_page", "space_picture"]

import html
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attn.display import is_share, percent
from attn.pictures.layout import Picture
from attn.pictures.text import plot_text
from attn.runs.sweep.space import Dimension, Point, Scalar
from attn.wording import shorten

MARKS: dict[str, dict[str, Any]] = {
    "not finished": {"color": "#8894a2", "marker": "+", "s": 36},
    "stopped early": {"color": "#8894a2", "marker": "x", "s": 28},
    "no score": {"color": "#2b2b2b", "marker": "X", "s": 44, "linewidths": 0, "clip_on": False},
    "done": {"color": "#2a6fbb", "marker": "o", "s": 28},
    "best": {"color": "#d1495b", "marker": "*", "s": 180, "edgecolors": "black", "linewidths": 0.6, "zorder": 3},
}
"""How trials are drawn: shapes tell them apart where colours do not."""
COUNT: dict[str, Any] = {"xytext": (7, 5), "textcoords": "offset points", "fontsize": 8, "zorder": 4}
"""How many trials lie at one place is written beside it."""
SLANTED: dict[str, Any] = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
COLUMNS = 3
LABELS = 36
"""Characters of a plot's ticks that fit side by side."""
MOST_TICKS = 6
ROUNDING = 1e-9
"""Share by which a tick may lie beyond its range, as 0.1 x 3 does."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 2rem; color: #222 }}
table {{ border-collapse: collapse }} th, td {{ padding: .25rem .8rem; text-align: right }}
th {{ cursor: pointer; border-bottom: 1px solid #888 }} tr.best {{ font-weight: bold; color: #d1495b }}
tr.failed, tr.stopped {{ color: #888 }} img {{ max-width: 100%; height: auto }}
</style></head><body><h1>{title}</h1><p>A click on a heading sorts by it.</p>
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>
<script>
document.querySelectorAll("th").forEach((head, column) => head.onclick = () => {{
  const body = document.querySelector("tbody"), rows = [...body.rows];
  const text = row => row.cells[column].dataset.value;
  const value = row => isNaN(text(row)) || text(row) === "" ? text(row) : +text(row);
  const up = head.dataset.up !== "1"; head.dataset.up = up ? "1" : "0";
  rows.sort((a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0) * (up ? 1 : -1));
  body.append(...rows);
}});
</script></body></html>
"""


def space_picture(
    trials: Sequence[tuple[Point, float | None, str]],
    space: Mapping[str, Dimension],
    *,
    objective: str,
    title: str,
    mark: Point | None = None,
) -> Picture:
    """One plot for each searched field, its values across and the objective up; the best trial is set off.

    Trials at one place of a plot are counted beside it.

    Args:
        trials: Values, objective (None: it has none, as a failed trial, and is drawn at the foot) and state of each.
        objective: Its name; scores are drawn in percent.
        mark: The values of the best trial.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    columns = min(COLUMNS, len(space))
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(4.2 * max(columns, 2), 3.4 * rows + 0.6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    scale, unit = (100, " (percent)") if is_share(objective) else (1, "")
    scored = [(values, scale * item, state) for values, item, state in trials if item is not None]
    groups: dict[str, list[tuple[Point, float]]] = {name: [] for name in MARKS}
    for values, item, state in scored:
        ended = {"done": "done", "stopped": "stopped early"}.get(state, "not finished")
        kind = "best" if values == mark else ended
        groups[kind].append((values, item))
    groups["no score"] = [(values, 0.0) for values, item, _ in trials if item is None]
    for index, (name, dimension) in enumerate(space.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for kind, points in groups.items():
            across = [_position(dimension, values[name]) for values, _ in points]
            foot: dict[str, Any] = {"transform": axes.get_xaxis_transform()} if kind == "no score" else {}
            axes.scatter(across, [item for _, item in points], label=kind, **MARKS[kind], **foot)
        for at_foot in (False, True):
            drawn = [
                (_position(dimension, values[name]), item)
                for kind, points in groups.items()
                for values, item in points
                if (kind == "no score") == at_foot
            ]
            foot = {"xycoords": axes.get_xaxis_transform()} if at_foot else {}
            for place, number in Counter(drawn).items():
                if number > 1:
                    axes.annotate(f"×{number}", place, **COUNT, **foot)
        places, labels, ends = _across(dimension)
        if dimension.log:
            axes.set_xscale("log")
        axes.set_xlim(*ends)
        axes.xaxis.set_minor_locator(NullLocator())
        long = max(map(len, labels)) * len(labels) > LABELS
        axes.set_xticks(places, [plot_text(shorten(label, 24)) for label in labels], **(SLANTED if long else {}))
        axes.set(xlabel=f"{name} (log scale)" if dimension.log else name, ylabel=f"{objective}{unit}")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = figure.axes[0].get_legend_handles_labels()
    kept = [(handle, name) for handle, name in zip(handles, names, strict=True) if groups[name]]
    figure.legend(*zip(*kept, strict=True), loc="outside lower center", ncols=len(MARKS), frameon=False)
    figure.suptitle(plot_text(title))
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def space_page(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, objective: str, title: str, best: int
) -> str:
    """A page of all trials that sorts by any column and needs nothing from elsewhere.

    Args:
        rows: Trials as plain values: `number`, `values`, `objective`, `epoch`, `seconds`, `state`.
        names: The searched fields.
        objective: Its name; scores are shown in percent.
    """
    scored = f"{objective} (%)" if is_share(objective) else objective
    heads = ("trial", *names, scored, "epochs", "seconds", "state")
    lines: list[str] = []
    for row in rows:
        result = row["objective"]
        shown = percent(result) if is_share(objective) else _short(result)
        values = [row["number"], *(row["values"].get(name) for name in names)]
        rest = [row[name] for name in ("epoch", "seconds", "state")]
        cells = [*map(_cell, values), _cell(result, shown), *map(_cell, rest)]
        marked = "best" if row["number"] == best else row["state"]
        lines.append(f'<tr class="{html.escape(marked)}">{"".join(cells)}</tr>')
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return PAGE.format(title=html.escape(title), head=head, body="\n".join(lines))


def _position(dimension: Dimension, value: Scalar) -> float:
    """Where a value stands on its axis: choices are evenly spaced, in their order."""
    if dimension.choices is None:
        assert isinstance(value, (int, float))
        return value
    return [json.dumps(choice) for choice in dimension.choices].index(json.dumps(value))


def _across(dimension: Dimension) -> tuple[list[float], list[str], tuple[float, float]]:
    """An axis of a dimension: places and labels of its ticks, and its ends."""
    if dimension.choices is not None:
        labels = [_label(choice) for choice in dimension.choices]
        return [float(place) for place in range(len(labels))], labels, (-0.5, len(labels) - 0.5)
    low, high = dimension.low, dimension.high
    assert low is not None
    assert high is not None
    if dimension.log:
        ticks, margin = log_ticks(low, high), (high / low) ** 0.05
        ends = low / margin, high * margin
    else:
        ticks, margin = _even_ticks(low, high, integer=dimension.integer), (high - low) * 0.05
        ends = low - margin, high + margin
    return ticks, distinct_labels(ticks), ends


def _label(choice: Scalar) -> str:
    """A choice on an axis, as the table of trials writes it where that is exact."""
    short = f"{choice:.4g}" if isinstance(choice, float) else ""
    return short if short and float(short) == choice else json.dumps(choice, ensure_ascii=False)


def distinct_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks, as short as tells them apart."""
    texts = ([f"{tick:.{digits}g}" for tick in ticks] for digits in range(6, 18))
    return next((labels for labels in texts if len(set(labels)) == len(set(ticks))), [repr(tick) for tick in ticks])


def log_ticks(low: float, high: float) -> list[float]:
    """Round values for the ticks of a logarithmic axis; of a narrow range those of a linear one."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    finer = [[digit * 10.0**power for power in range(first, last + 1) for digit in digits]
             for digits in ((1, 2, 5), (1, 3), (1,))]  # fmt: skip
    powers = finer[-1]
    coarser = [powers[::step] for step in range(2, len(powers) + 1)]
    for candidates in (*finer, *coarser):
        ticks = [tick for tick in candidates if low * (1 - ROUNDING) <= tick <= high * (1 + ROUNDING)]
        if len(ticks) < 3:
            break
        if len(ticks) <= MOST_TICKS:
            return ticks
    return _even_ticks(low, high)


def _even_ticks(low: float, high: float, *, integer: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(MOST_TICKS - 2, integer=integer, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = (high - low) * ROUNDING
    return [float(f"{tick:.12g}") for tick in ticks if low - slack <= tick <= high + slack]


def _cell(value: Any, shown: str | None = None) -> str:
    text = _short(value) if shown is None else shown
    return f'<td data-value="{html.escape("" if value is None else str(value))}">{html.escape(text)}</td>'


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
