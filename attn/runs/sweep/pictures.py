"""A sweep's space: each searched field against the objective, as a picture and as a page for a browser."""

from __future__ import annotations

__all__ = ["space_page", "space_picture"]

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attn.pictures.layout import Picture
from attn.runs.sweep.space import Dimension, Point

DONE, OTHER, BEST = "#2a6fbb", "#b9c4d0", "#d1495b"
COLUMNS = 3

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
    title: str,
    mark: Point | None = None,
) -> Picture:
    """One plot for each searched field, its values across and the objective up; the best trial is set off.

    Args:
        trials: Values, objective (None: it has none, and is left out) and state of each.
        mark: The values of the best trial.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(space))
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    scored = [(values, objective, state) for values, objective, state in trials if objective is not None]
    for index, (name, dimension) in enumerate(space.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        numeric = all(isinstance(values[name], (int, float)) for values, _, _ in scored)
        labels = [json.dumps(choice) for choice in dimension.choices or ()]
        for values, objective, state in sorted(scored, key=lambda trial: trial[0] == mark):
            value: Any = values[name]
            color = BEST if values == mark else DONE if state == "done" else OTHER
            axes.scatter([value if numeric else labels.index(json.dumps(value))], [objective], color=color, s=28)
        if not numeric:
            axes.set_xticks(range(len(labels)), labels)
        if dimension.log:
            axes.set_xscale("log")
        axes.set(xlabel=name, title=title if index == 0 else "")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def space_page(rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, title: str, best: int) -> str:
    """A page of all trials that sorts by any column and needs nothing from elsewhere.

    Args:
        rows: Trials as plain values: `number`, `values`, `objective`, `epoch`, `seconds`, `state`.
        names: The searched fields.
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("trial", *names, "objective", "epochs", "s", "state"))
    lines: list[str] = []
    for row in rows:
        cells = [row["number"], *(row["values"].get(name) for name in names), row["objective"], row["epoch"]]
        cells += [row["seconds"], row["state"]]
        marked = "best" if row["number"] == best else row["state"]
        lines.append(f'<tr class="{html.escape(marked)}">{"".join(map(_cell, cells))}</tr>')
    return PAGE.format(title=html.escape(title), head=head, body="\n".join(lines))


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
    return f'<td data-value="{html.escape("" if value is None else str(value))}">{html.escape(text)}</td>'
