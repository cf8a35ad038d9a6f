"""Masks on pictures: colours that everyone can tell apart, names on regions, and a legend that fits both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from attn.data.sources.voc import VOC_CLASSES
from attn.pictures import PanelData, class_colors, panel, sheet
from attn.pictures.legend import SIZE
from attn.pictures.palette import BACKGROUND_SHADE, CLASS_COLORS, NO_LABEL, UNLABELLED, text_color
from attn.pictures.regions import Label, paint, place_labels
from attn.pictures.text import class_names
from attn.pictures.tiles import TilePainter
from tests.pictures.color_vision import SEEN, distances

Pixels = NDArray[np.uint8]
LEAST = 10
"""Distance in L*a*b* at which two flat colours side by side are clearly two."""


def blocks(values: Iterable[int], side: int = 40, columns: int = 4) -> Pixels:
    """Square regions side by side."""
    rows = [list(values)[start : start + columns] for start in range(0, len(list(values)), columns)]
    grid = np.array([row + [0] * (columns - len(row)) for row in rows], np.uint8)
    return grid.repeat(side, 0).repeat(side, 1)


def data(mask: Pixels, classes: Iterable[str], name: str = "prediction", **more: Pixels) -> PanelData:
    image = np.full((*mask.shape, 3), 128, np.uint8)
    return PanelData("image", image, tuple(classes), masks={name: mask, **more})


def exact(pixels: Pixels, least: int) -> set[tuple[int, ...]]:
    """The colours of many pixels."""
    counts = Counter(map(tuple, pixels.reshape(-1, 3).tolist()))
    return {color for color, count in counts.items() if count >= least}


@pytest.mark.parametrize("kind", SEEN)
def test_any_two_colours_and_the_greys_around_them_differ_for_everyone(kind: str) -> None:
    backgrounds = [(grey, grey, grey) for grey in (20, 60, round(255 * BACKGROUND_SHADE))]
    result = distances([*CLASS_COLORS, UNLABELLED, *backgrounds], kind)[: len(CLASS_COLORS)]
    assert result.min() >= LEAST


@pytest.mark.parametrize("kind", SEEN)
def test_neighbouring_regions_differ_for_everyone(kind: str) -> None:
    """On pixels, of VOC's 20 classes and of classes that share a colour because there are 254."""
    for values in (range(1, 21), range(1, 254, 13), [1, 21, 41, 61, 81, 101, 2, 22]):
        mask = blocks(values)
        colors = class_colors(np.unique(mask).tolist())
        painted = paint(np.full((*mask.shape, 3), 128, np.uint8), mask, colors, {})
        centres = painted[20::40, 20::40].reshape(-1, 3)[: len(list(values))]
        assert distances(centres, kind).min() >= LEAST


def test_a_class_has_one_colour_in_all_pictures() -> None:
    alone = {value: class_colors([value])[value] for value in range(1, 21)}
    assert class_colors(range(20, 0, -1)) == alone
    assert class_colors([0, NO_LABEL, 21]) == {21: alone[1]}
    both = class_colors([21, 1])
    assert both[21] == alone[1], "the class that is given first, such as one of the truth, keeps its colour"
    assert both[1] != both[21]
    assert len(class_colors(range(1, 255))) == 254


def test_the_legend_has_the_colours_of_the_regions() -> None:
    mask = blocks([3, 15, 20, 255])
    drawn = panel(data(mask, VOC_CLASSES), height=120).pixels
    tiles, legend = drawn[: -SIZE - 14], drawn[-SIZE - 14 :]
    colors = {class_colors([value])[value] for value in (3, 15, 20)}
    assert exact(tiles, 500) >= colors | {UNLABELLED}
    assert exact(legend, 150) >= colors | {UNLABELLED}
    absent = set(CLASS_COLORS) - colors
    assert not exact(drawn, 1) & absent


def test_the_legend_lists_what_occurs_and_wraps() -> None:
    small = panel(data(blocks([1]), VOC_CLASSES), height=80)
    large = panel(data(blocks(range(1, 21)), VOC_CLASSES), height=80)
    assert large.pixels.shape[0] >= small.pixels.shape[0] + 2 * 19, "20 names take several lines"
    assert set(class_colors(range(1, 21)).values()) <= exact(large.pixels, 150)


def test_regions_of_more_classes_than_colours_have_numbers() -> None:
    """Two of them have one colour: the number on the region is that of the legend."""
    mask = blocks(range(1, 31), side=60, columns=10)
    names = tuple(f"class with a long name {index}" for index in range(30))
    painter = TilePainter.of([data(mask, names)], 2, 200)
    assert painter.labels[21] == "21"
    assert [entry.text[:4] for entry in painter.entries[:2]] == ["1: c", "2: c"]
    few = TilePainter.of([data(blocks(range(1, 21)), names)], 2, 200)
    assert few.labels[20] == names[19]


def test_pictures_of_an_image_keep_their_size_while_predictions_change() -> None:
    truth = blocks([1, 2])
    drawn = [panel(data(one, VOC_CLASSES, truth=truth), every_class=True).pixels for one in (truth, blocks([7, 20]))]
    assert drawn[0].shape == drawn[1].shape
    # The image, and the truth in the last column, stay where they are.
    width = drawn[0].shape[1]
    same = (drawn[0] == drawn[1]).all(-1)
    assert same[:, : width // 3].all()
    assert same[:, -width // 3 :].all()


def overlap(one: Label, other: Label) -> bool:
    return (
        one.box[0] < other.box[2]
        and other.box[0] < one.box[2]
        and one.box[1] < other.box[3]
        and other.box[1] < one.box[3]
    )


@pytest.mark.parametrize("seed", range(12))
def test_names_lie_on_their_regions_and_do_not_overlap(seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = random.integers(0, random.integers(2, 60), (random.integers(2, 9), random.integers(2, 9)))
    mask = cells.astype(np.uint8).repeat(24, 0).repeat(31, 1)
    names = {int(value): "long name " * int(random.integers(1, 20)) for value in np.unique(mask) if value}
    labels = place_labels(mask, names)
    for label in labels:
        left, top, right, bottom = label.box
        assert left >= 0
        assert top >= 0
        assert right <= mask.shape[1]
        assert bottom <= mask.shape[0]
        assert (mask[top:bottom, left:right] == label.value).mean() >= 0.75
        assert not any(overlap(label, other) for other in labels if other is not label)


def test_a_large_region_has_its_whole_name_a_small_one_has_none() -> None:
    mask = np.zeros((100, 160), np.uint8)
    mask[:, :120], mask[40:44, 130:134] = 9, 5
    assert [(label.value, label.text) for label in place_labels(mask, {9: "diningtable", 5: "car"})] == [
        (9, "diningtable")
    ]
    (long,) = place_labels(mask, {9: "a name that is wider than the whole picture"})
    assert "…" in long.text
    assert long.text.startswith("a n")


@pytest.mark.parametrize("color", CLASS_COLORS)
def test_names_contrast_with_their_regions(color: tuple[int, int, int]) -> None:
    def luminance(rgb: tuple[int, int, int]) -> float:
        linear = [part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in rgb]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted((luminance(color), luminance(text_color(color))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5, "what WCAG 2 asks of text"


def test_a_name_that_no_font_has_is_a_number_and_the_picture_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    strange = ("cat", "\ue124\ue125", "кот")
    assert class_names(strange) == ("cat", "class 2", "кот")
    mask = blocks([1, 2, 3])
    drawn = panel(data(mask, strange)).pixels
    by_number = panel(data(mask, ("cat", "class 2", "кот"))).pixels
    assert drawn.shape[0] > by_number.shape[0], "a line says what the number stands for"
    np.testing.assert_array_equal(drawn[: by_number.shape[0] - 3], by_number[:-3])
    assert (
        panel(data(blocks([1, 3]), strange)).pixels.shape
        == panel(data(blocks([1, 3]), ("cat", "x", "кот"))).pixels.shape
    )


def test_masks_have_columns_of_their_own_in_sheets() -> None:
    one, other = data(blocks([1]), VOC_CLASSES, "cue"), data(blocks([2]), VOC_CLASSES, "truth")
    both = sheet([one, other], height=80).pixels
    assert both.shape[1] > sheet([one, one], height=80).pixels.shape[1]


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the image's size"):
        paint(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), {}, {})
