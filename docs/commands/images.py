"""The pictures of the documents, of networks trained on generated scenes: `python -m docs.commands.images [NAME ...]`.

Trains what is not there yet under `build/images`, half an hour on two cores in all, and draws. Given names of pictures,
only these are drawn, and only what they need is trained. The scenes are drawn by a seed: no photograph is needed.
"""

from __future__ import annotations

__all__ = ["main"]

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from attn.data.sample import Example
from attn.evaluation.visual_confusion import ImageConfusion
from attn.pictures.comparison import comparison
from attn.pictures.confusion import confusion_rows, overlap_overlay
from attn.pictures.layout import Picture, Tile, grid, nearest, resized
from attn.pictures.tiles import PanelData, TilePainter
from attn.runs.recipes import load_run
from jobs import demo, evaluate, train
from jobs.resume import resume
from jobs.scoring.targets import open_target
from jobs.scoring.visual_confusion import ConfusionTarget

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "images"
RUNS = ROOT / "build" / "images"
LEARNT = ("data.count=900", "training.epochs=16")
"""More scenes for fewer epochs: networks that tell most look-alikes apart, in a fifth of the recipe's time."""
TRAINED: dict[str, tuple[str, ...]] = {
    "grad_cam": ("scenes_grad_cam", "store.accumulate=true"),
    "gain": ("scenes_gain",),
    "gain_ext": ("scenes_gain_ext",),
    "oaa_plus": ("scenes_oaa_plus", f"method.maps={RUNS / 'grad_cam' / 'store'}"),
    "target": ("scenes_attnbn", "method.losses=[target]", "training.epochs=12"),
    "attnbn": ("scenes_attnbn", "training.epochs=12"),
    "before": ("scenes_icasc", "method.name=grad_cam", *LEARNT),
    "after": (
        "scenes_icasc",
        "method.warmup_epochs=8",
        "method.iou_last=0.3",
        "method.iou_inner=0.3",
        "method.consistency=0.3",
        *LEARNT,
    ),
}
"""The recipe of each run, and what is different from it for the sake of time."""
SCENES = 24
LARGE, SMALL = 124, 110
"""Heights of the tiles of a page's picture, and of one in the table of methods."""


@dataclass(frozen=True)
class Pair:
    """The same scenes before and after a method.

    Attributes:
        titles: What both are called.
        runs: The runs; `grad_cam/store` is the map store of one.
        split: Of the scenes.
    """

    titles: tuple[str, str]
    runs: tuple[str, str]
    split: str = "test"

    def rows(self) -> dict[str, list[PanelData]]:
        """What both make of the scenes, by title."""
        return {title: _looked(run, self.split) for title, run in zip(self.titles, self.runs, strict=True)}


PAIRS = {
    "gain": Pair(("Grad-CAM", "GAIN"), ("grad_cam", "gain")),
    "gain_ext": Pair(("Grad-CAM", "GAIN_ext"), ("grad_cam", "gain_ext")),
    "oaa": Pair(("last epoch", "OAA"), ("grad_cam", "grad_cam/store"), "train"),
    "oaa_plus": Pair(("Grad-CAM", "OAA+"), ("grad_cam", "oaa_plus")),
    "attnbn": Pair(("target alone", "AttnBN"), ("target", "attnbn")),
}


def main(names: Sequence[str]) -> None:
    """Train and draw."""
    pictures: dict[str, Callable[[], Picture]] = {
        "demo": _demo,
        "gain": _gain,
        "attnbn": lambda: comparison(_few(PAIRS["attnbn"].rows(), 3), height=LARGE),
        "icasc": _icasc,
        **{f"small_{name}": lambda pair=pair: _small(pair) for name, pair in PAIRS.items()},
        "small_icasc": _small_icasc,
    }
    if unknown := set(names) - set(pictures):
        sys.exit(f"no picture is called {', '.join(sorted(unknown))}: there are {', '.join(pictures)}")
    for name in names or pictures:
        drawn = Image.fromarray(pictures[name]().pixels)
        drawn.quantize(256).save(FOLDER / f"{name}.png", optimize=True)  # a palette: a third of the size
        print(FOLDER / f"{name}.png", flush=True)


def trained(run: str) -> str:
    """The folder of a run or of its map store; the run is begun or continued first where it is not done."""
    name, _, inside = run.partition("/")
    recipe, *changed = TRAINED[name]
    settings = [*changed, f"root={RUNS}", "tracking.enabled=false", "cluster.workers=1", "cluster.threads=1"]
    if not (RUNS / name).exists():
        train.run(load_run(recipe, "train", settings), run_id=name)
    elif not (RUNS / name / "model" / "model.json").exists():
        resume(name, root=str(RUNS))
    return str(RUNS / name / inside)


def _looked(run: str, split: str) -> list[PanelData]:
    """What a model or a map store makes of the first scenes of a split."""
    target = trained(run)
    shutil.rmtree(RUNS / "look", ignore_errors=True)
    settings = [f"root={RUNS}", f"data.split={split}", "tracking.enabled=false"]
    if split != "train":  # a store has rows for all images that were trained on
        settings.append(f"data.count={SCENES}")
    return evaluate.score(evaluate.load(target, [*settings, f"panels={SCENES}"]), run_id="look")[1]


def _few(rows: Mapping[str, Sequence[PanelData]], scenes: int) -> dict[str, list[PanelData]]:
    """The first scenes with two classes, the same of each row."""
    first = next(iter(rows.values()))
    chosen = [number for number, one in enumerate(first) if len(one.maps) == 2][:scenes]
    return {title: [row[number] for number in chosen] for title, row in rows.items()}


def _small(pair: Pair) -> Picture:
    """The scene whose map gains most, with both maps: it shows what a method does, not how much on the average."""
    before, after = pair.rows().values()
    gains = {
        (number, index): _overlap(after[number], index) - _overlap(one, index)
        for number, one in enumerate(before)
        for index in one.maps
        if index in after[number].maps
    }
    number, index = max(gains, key=lambda place: gains[place])
    painter = TilePainter.of([before[number]], 3, SMALL)
    tiles = [
        painter.map(one[number], index, title, probability=False)
        for one, title in zip((before, after), pair.titles, strict=True)
    ]
    return grid([[replace(painter.image(before[number]), caption=painter.names[index]), *tiles]], height=SMALL)


def _overlap(looked: PanelData, index: int) -> float:
    """IoU of the object and where the map exceeds half of its maximum."""
    values, truth = np.asarray(looked.maps[index]), looked.region(index)
    assert truth is not None, "scenes have masks"
    seen = values > values.max() / 2
    return float((seen & truth).sum() / max(1, (seen | truth).sum()))


def _demo() -> Picture:
    return _read(demo.main([f"root={RUNS / 'demo'}"]).picture)


def _gain() -> Picture:
    rows = PAIRS["gain"].rows() | {"GAIN_ext": _looked("gain_ext", "test")}
    return comparison(_few(rows, 3), height=LARGE)


@dataclass(frozen=True)
class Confused:
    """The look-alike whose target's and confusing class's maps part most at the last layer, before and after ICASC."""

    before: ImageConfusion
    after: ImageConfusion
    example: Example
    classes: tuple[str, ...]


@cache
def _confused() -> Confused:
    settings = [f"root={RUNS}", "data.split=test", f"data.count={SCENES}", "tracking.enabled=false"]
    targets = [ConfusionTarget.of(name, open_target(trained(name), settings)) for name in ("before", "after")]
    before, after = (target.measure(range(SCENES))[0] for target in targets)
    number = max(range(SCENES), key=lambda index: before[index].overlap["last"] - after[index].overlap["last"])
    source = targets[0].model.source
    return Confused(before[number], after[number], source.load(number, saliency=False), source.classes)


def _icasc() -> Picture:
    result = _confused()
    return confusion_rows(
        {"Grad-CAM": result.before, "ICASC": result.after}, result.example, result.classes, height=SMALL
    )


def _small_icasc() -> Picture:
    result = _confused()
    image, mask = resized(result.example.image, SMALL), result.example.mask
    assert mask is not None, "scenes have masks"
    truth = nearest((mask > 0).astype(np.uint8), result.example.image, SMALL) > 0
    tiles = [
        Tile(
            overlap_overlay(image, resized(one.target["last"], SMALL), resized(one.other["last"], SMALL), truth), title
        )
        for one, title in ((result.before, "Grad-CAM"), (result.after, "ICASC"))
    ]
    return grid([[Tile(image, result.classes[result.before.record.labels[0]]), *tiles]], height=SMALL)


def _read(path: str) -> Picture:
    return Picture(np.asarray(Image.open(path).convert("RGB")))


if __name__ == "__main__":
    main(sys.argv[1:])
