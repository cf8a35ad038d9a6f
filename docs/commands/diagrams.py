"""The diagrams of the documents as SVG: `python -m docs.commands.diagrams`.

The layers are those of `tests/test_repository.py`, which checks the imports.
"""

from __future__ import annotations

__all__ = ["FOLDER", "diagrams"]

from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.test_repository import LAYERS

FOLDER = Path(__file__).resolve().parent.parent / "images"
BLUE, GREEN, ORANGE, GREY = "#dbe7f6", "#dcefdf", "#fbe8d0", "#eef0f3"
INK, LINE = "#1f2933", "#5b6b7d"
PACKAGES = {
    "attn": ("attn: the library, without Ray", BLUE),
    "jobs": ("jobs: whole runs, here or on Ray", GREEN),
    "services": ("services: command line and HTTP", ORANGE),
}
ROW, GAP, WIDTH = 28, 6, 410


@dataclass(frozen=True)
class Box:
    """A box with a title and, below it, smaller lines; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: tuple[str, ...] = ()
    fill: str = GREY

    def svg(self) -> str:
        middle = self.x + self.width / 2
        top = self.y + self.height / 2 + 5 - 8 * len(self.lines)
        texts = [_text(middle, top, self.title, 13.5, anchor="middle", bold=bool(self.lines))]
        texts += [_text(middle, top + 16 * n, line, 12, anchor="middle") for n, line in enumerate(self.lines, 1)]
        frame = (
            f'<rect x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="{self.height:g}" rx="6" '
            f'fill="{self.fill}" stroke="{LINE}"/>'
        )
        return "\n".join([frame, *texts])


def main() -> None:
    """Write the diagrams."""
    for name, text in diagrams().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def diagrams() -> dict[str, str]:
    """The text of every diagram by its file's name."""
    return {"data_flow.svg": data_flow(), "layers.svg": layers()}


def data_flow() -> str:
    """From images and labels to maps, cues, masks and predictions."""
    wide, high = 172, 58
    left, middle, right, last = 10, 235, 460, 670
    images = Box(left, 100, wide, high, "images and labels", ("masks, boxes, saliency", "where there are any"), GREY)
    train = Box(middle, 100, wide, high, "train", ("a method, on Ray Train",), BLUE)
    mlflow = Box(right, 10, wide, high, "MLflow", ("metrics, previews, models",), GREY)
    model = Box(right, 100, wide, high, "trained model", ("tensors and JSON",), GREY)
    store = Box(middle, 205, wide, high, "map store", ("cumulative maps (OAA)",), GREY)
    maps = Box(right, 205, wide, high, "maps", ("of any images",), BLUE)
    predict = Box(last, 100, wide, high, "predict", ("labels, maps, a mask",), ORANGE)
    cues = Box(middle, 310, wide, high, "cues", ("thresholds and saliency",), BLUE)
    segment = Box(right, 310, wide, high, "segment", ("a network: SEC, DSRG, DeepLab",), BLUE)
    masks = Box(last, 310, wide, high, "masks and scores", ("with and without CRF",), ORANGE)
    boxes = (images, train, mlflow, model, store, maps, predict, cues, segment, masks)
    arrows = [
        _right(images, train),
        _right(train, model),
        _right(model, predict),
        _arrow(middle + wide, 115, right, 39),
        _down(train, store),
        _down(model, maps),
        _down(store, cues),
        _arrow(right, 250, middle + wide, 322),
        _right(cues, segment),
        _right(segment, masks),
    ]
    return _document(850, 378, "The way of the data", [*arrows, *(box.svg() for box in boxes)])


def layers() -> str:
    """The packages by layer: the library on the left, the packages that use it on the right."""
    columns = {"attn": 0, "jobs": 1, "services": 1}
    rows: dict[str, list[tuple[str, ...]]] = {package: [] for package in PACKAGES}
    for packages in reversed(LAYERS):
        rows[packages[0].partition(".")[0]].append(packages)
    heights = {package: len(item) * (ROW + GAP) + ROW + 2 * GAP for package, item in rows.items()}
    total = max(heights["attn"], heights["jobs"] + heights["services"] + 30)
    tops = {"attn": total - heights["attn"], "jobs": total - heights["jobs"], "services": 0.0}
    tops["services"] = tops["jobs"] - 30 - heights["services"]
    parts: list[str] = []
    for package, (title, fill) in PACKAGES.items():
        x, y = columns[package] * (WIDTH + 30), tops[package] + 5
        parts.append(f'<rect x="{x}" y="{y:g}" width="{WIDTH}" height="{heights[package]}" rx="8" fill="{fill}"/>')
        parts.append(_text(x + 12, y + 22, title, 15, bold=True))
        for number, packages in enumerate(rows[package], 1):
            parts += _layer(x + 12, y + number * (ROW + GAP) + GAP / 2, WIDTH - 24, packages)
    middle = WIDTH + 30 + WIDTH / 2
    parts.append(_arrow(middle, tops["services"] + heights["services"] + 5, middle, tops["jobs"] + 4))
    across = tops["jobs"] + 5 + heights["jobs"] / 2
    parts.append(_arrow(WIDTH + 30, across, WIDTH + 1, across))
    return _document(2 * WIDTH + 30, total + 10, "Layers: a package imports from lower layers", parts)


def _layer(x: float, y: float, width: float, packages: tuple[str, ...]) -> list[str]:
    """One layer: its packages side by side, each as wide as its name."""
    names = [name.partition(".")[2] or f"all other modules of {name}" for name in packages]
    free = width - 4 * (len(names) - 1)
    letters = sum(map(len, names))
    parts: list[str] = []
    for name in names:
        own = free * len(name) / letters
        size = min(13.0, own / len(name) * 1.65)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:g}" width="{own:.1f}" height="{ROW}" rx="4" fill="#ffffff" stroke="{LINE}"/>'
        )
        parts.append(_text(x + own / 2, y + 19, name, size, anchor="middle"))
        x += own + 4
    return parts


def _right(start: Box, end: Box) -> str:
    return _arrow(start.x + start.width, start.y + start.height / 2, end.x, end.y + end.height / 2)


def _down(start: Box, end: Box) -> str:
    return _arrow(start.x + start.width / 2, start.y + start.height, end.x + end.width / 2, end.y)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'


def _text(x: float, y: float, text: str, size: float, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _document(width: float, height: float, title: str, parts: list[str]) -> str:
    tip = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="{LINE}"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'font-family="Helvetica, Arial, sans-serif" fill="{INK}">'
    )
    ground = f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", tip, ground, *parts, "</svg>", ""])


if __name__ == "__main__":
    main()
