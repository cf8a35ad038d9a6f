"""Texts on pictures, whatever the names: none lies on another, and none is cut off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from attn.data.sample import Example, Record
from attn.evaluation.visual_confusion import LAYERS, ImageConfusion
from attn.pictures import PanelData, Picture, comparison, growth, panel, sheet
from attn.pictures.confusion import confusion_rows, confusion_sheet
from attn.pictures.layout import heading
from attn.pictures.legend import ATTENTION, PROBABILITY, map_entry, with_legend
from attn.pictures.tiles import TilePainter

Box = tuple[float, float, float, float]
LONG = ("a very long name", "кошка и собака", "\ue123\ue124: letters of no font")
NAMES = {
    "short": [f"c{index}" for index in range(24)],
    "long": [LONG[index % 3] * 9 + str(index) for index in range(24)],
}
SIZES = {"square": (96, 96), "broad": (60, 300), "tall": (300, 60)}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[str, Box, tuple[int, int]]]]:
    """Each text that is written, with its box and the size of its picture, by picture."""
    texts: dict[int, list[tuple[str, Box, tuple[int, int]]]] = defaultdict(list)
    pictures: list[Any] = []
    write = ImageDraw.ImageDraw.text

    def recorded(self: ImageDraw.ImageDraw, xy: Any, text: str, fill: Any, font: Any, anchor: str) -> None:
        pictures.append(self.im)  # keeps it, so that no other picture gets its id
        if text:
            texts[id(self.im)].append((text, self.textbbox(xy, text, font=font, anchor=anchor), self.im.size))
        write(self, xy, text, fill, font, anchor=anchor)

    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)
    return texts


def images(size: tuple[int, int], names: list[str], count: int = 3) -> list[PanelData]:
    random = np.random.default_rng(0)
    data: list[PanelData] = []
    for index in range(count):
        cells = random.integers(0, 24, (4, 4)).astype(np.uint8)
        mask = cells.repeat(size[0] // 4, 0).repeat(size[1] // 4, 1)
        image = random.integers(0, 256, (*mask.shape, 3), np.uint8)
        maps = {label: random.random(mask.shape).astype(np.float32) for label in range(index, 2 * index + 2)}
        masks = {"cue": mask, "prediction": mask[::-1].copy(), "truth": mask.T.copy() if size[0] == size[1] else mask}
        data.append(PanelData(f"{names[0]}/{index}", image, tuple(names), maps, dict.fromkeys(maps, 0.5), masks))
    return data


def confused(size: tuple[int, int], names: list[str], count: int) -> tuple[list[ImageConfusion], list[Example]]:
    maps = {layer: np.full(size, 0.5, np.float32) for layer in LAYERS}
    records = [Record(f"{names[0]}/{index}", (0, 1)) for index in range(count)]
    overlap, probabilities = dict.fromkeys(LAYERS, 0.25), np.full(len(names), 0.5)
    results = [ImageConfusion(record, 2, probabilities, overlap, maps, maps) for record in records]
    image, mask = np.full((*size, 3), 128, np.uint8), np.ones(size, np.uint8)
    return results, [Example(record, image, mask=mask) for record in records]


@pytest.mark.parametrize(("title", "shown"), [("2007_000032", "2007_000032"), ("a/b", "a/b"),
    ("JPEGImages/2007_000032", "2007_000032"), ("photographs/validation/tabby cats/one", "one")])  # fmt: skip
@pytest.mark.parametrize("kind", ["growth", "panel", "confusion"])
def test_a_title_that_does_not_fit_goes_without_its_folders(
    title: str, shown: str, kind: str, written: dict[int, list[tuple[str, Box, tuple[int, int]]]]
) -> None:
    names = NAMES["short"]
    if kind == "confusion":
        (result,), (example,) = confused((96, 96), names, 1)
        confusion_rows({"": result}, replace(example, record=replace(example.record, image_id=title)), names)
    else:
        data = replace(images((96, 96), names)[0], image_id=title)
        growth({"epoch 2": data}) if kind == "growth" else panel(data, height=100)
    texts = [text for picture in written.values() for text, *_ in picture]
    assert shown in texts, texts


def overview(size: tuple[int, int], names: list[str], count: int = 8) -> Picture:
    result, examples = confused(size, names, count)
    return confusion_sheet({"before": result, names[1]: result}, examples, names)


DRAWN: dict[str, Callable[[tuple[int, int], list[str]], Picture]] = {
    "panel": lambda size, names: panel(images(size, names)[2]),
    "sheet": lambda size, names: heading(sheet(images(size, names)), names[0][:40], "below"),
    "comparison": lambda size, names: comparison({"GAIN": images(size, names), names[1]: images(size, names)}),
    "growth": lambda size, names: growth({f"epoch {index}": images(size, names)[2] for index in range(6)}),
    "confusion, overview": overview,
    "confusion, in full": lambda size, names: confusion_rows(
        {title: confused(size, names, 1)[0][0] for title in ("before", names[1])}, confused(size, names, 1)[1][0], names
    ),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_texts_neither_overlap_nor_leave_the_picture(
    draw: Callable[[tuple[int, int], list[str]], Picture],
    names: list[str],
    size: tuple[int, int],
    written: dict[int, list[tuple[str, Box, tuple[int, int]]]],
) -> None:
    picture = draw(size, names)
    assert sum(map(len, written.values())) >= 5
    assert picture.pixels.shape[1] <= 1700
    for texts in written.values():
        for number, (text, (left, top, right, bottom), (width, height)) in enumerate(texts):
            assert -1 <= left < right <= width + 1, text
            assert -1 <= top < bottom <= height + 1, text
            for other, box, _ in texts[:number]:
                apart = left >= box[2] or box[0] >= right or top >= box[3] or box[1] >= bottom
                assert apart, f"{text!r} lies on {other!r}"


def test_a_text_stays_on_one_line() -> None:
    body = Picture(np.zeros((20, 300, 3), np.uint8))
    np.testing.assert_array_equal(heading(body, "one\n\ttwo").pixels, heading(body, "one two").pixels)
    np.testing.assert_array_equal(heading(body, "\x1b[1m").pixels, heading(body, "\\x1b[1m").pixels)


def test_an_overview_of_confusion_fits_on_a_screen() -> None:
    names = [f"class {index}" for index in range(20)]
    for size in ((375, 500), (64, 64)):
        height, width = overview(size, names).pixels.shape[:2]
        assert height <= 900
        assert width <= 1600


@pytest.mark.parametrize("meaning", [ATTENTION, PROBABILITY])
def test_a_legend_below_a_narrow_picture_is_a_shorter_text_and_not_a_cut_one(
    written: dict[int, list[tuple[str, Box, tuple[int, int]]]], meaning: str
) -> None:
    for width in (40, 240, 2000):
        with_legend(Picture(np.zeros((20, width, 3), np.uint8)), [map_entry(meaning)])
    texts = [text for drawn in written.values() for text, *_ in drawn]
    assert meaning in texts
    assert len(set(texts)) > 1
    assert all(text.startswith(meaning.partition(",")[0].partition(" ")[0]) for text in texts)
    assert not any("…" in text for text in texts)


@pytest.mark.parametrize("known", [{}, {0: 0.25}])
def test_a_map_that_is_zero_everywhere_says_so(known: dict[int, float]) -> None:
    (one,) = images((40, 40), ["cat"], count=1)
    for value, told in ((0.0, True), (0.5, False)):
        data = replace(one, maps={0: np.full((40, 40), value, np.float32)}, probabilities=known)
        tile = TilePainter.of([data], 1, 100).map(data, 0, "cat")
        assert tile is not None
        assert ("0 everywhere" in tile.note) == told
        assert ("25.0 %" in tile.note) == bool(known)
