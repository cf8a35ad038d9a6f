"""What pictures must show, measured on their pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.pictures import PanelData, comparison, growth, overlay, panel, sheet, voc_palette
from attn.pictures.curve import score_curves
from attn.pictures.heat_map import heat_map
from attn.pictures.layout import WIDEST, Picture, Tile, grid, heading
from attn.pictures.overlay import heat, outline
from attn.pictures.preview import evenly_spaced
from attn.pictures.tiles import TilePainter
from attn.runs.sweep.pictures import _across, distinct_labels, log_ticks, space_page, space_picture
from attn.runs.sweep.space import Dimension

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def looked(image_id: str = "a", classes: tuple[int, ...] = (0, 1), mask: bool = True) -> PanelData:
    ramp = np.tile(np.linspace(0, 1, 60), (40, 1))
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 20:50] = 1
    return PanelData(
        image_id,
        IMAGE,
        ("cat", "dog"),
        maps=dict.fromkeys(classes, ramp),
        probabilities=dict.fromkeys(classes, 0.9),
        masks={"truth": truth} if mask else {},
    )


def test_the_palette_of_mask_files_is_pascal_voc_s() -> None:
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(palette[index].tolist()) for index in known} == known


def test_heat_gets_lighter_all_the_way() -> None:
    lightness = heat(np.linspace(0, 1, 64)[None])[0].astype(int) @ [299, 587, 114]
    assert (np.diff(lightness) > 0).all()


def test_an_overlay_is_grey_where_the_map_is_zero_and_coloured_where_it_is_high() -> None:
    grey = np.full((8, 8, 3), 200, np.uint8)
    values = np.zeros((8, 8))
    values[:, 4:] = 1
    pixels = overlay(grey, values)
    assert np.ptp(pixels[:, :4].astype(int), axis=-1).max() == 0
    assert np.ptp(pixels[:, 4:].astype(int), axis=-1).min() > 50


def test_an_overlay_leaves_its_inputs_alone() -> None:
    image, values = IMAGE.copy(), np.ones((40, 60))
    overlay(image, values, np.ones((40, 60), bool))
    np.testing.assert_array_equal(image, IMAGE)


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the image's size"):
        overlay(IMAGE, np.zeros((4, 4)))


def test_an_outline_touches_only_the_border_of_the_region() -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    region = np.zeros((100, 100), bool)
    region[30:70, 30:70] = True
    changed = (outline(image, region) != image).any(-1)
    assert changed[30, 30:70].all()
    assert not changed[45:55, 45:55].any()
    assert not changed[:20].any()


def test_an_outline_of_a_ragged_region_is_thin() -> None:
    image, region = np.full((240, 300, 3), 90, np.uint8), np.zeros((240, 300), bool)
    for left in range(60, 240, 12):  # the teeth of a comb, 6 pixels wide
        region[60:180, left : left + 6] = True
    changed = (outline(image, region) != image).any(-1)
    assert not changed[70:170, 62:64].any(), "a tooth's inside"
    assert not changed[70:170, 68:70].any(), "the gap beside it"
    rows = changed[120, 50:200].astype(int)
    assert rows.sum() == 4 * round((200 - 60) / 12), "two pixels for each edge"


def test_a_panel_has_the_image_each_class_and_the_truth() -> None:
    picture = panel(looked(), height=80)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[1] >= 4 * 120
    assert panel(looked(mask=False), height=80).pixels.shape[1] < picture.pixels.shape[1]
    assert Image.open(io.BytesIO(picture.png())).size == picture.pixels.shape[1::-1]


def test_panels_of_images_with_different_classes_align() -> None:
    one, both = looked("a", (0,)), looked("b")
    assert sheet([one, both], height=80).pixels.shape[1] == sheet([both, both], height=80).pixels.shape[1]


def test_a_comparison_shows_each_method_in_a_row() -> None:
    two = comparison({"Grad-CAM": [looked()], "GAIN": [looked()]}, height=80)
    three = comparison({"Grad-CAM": [looked()], "GAIN": [looked()], "OAA": [looked(classes=(0,))]}, height=80)
    assert 80 <= three.pixels.shape[0] - two.pixels.shape[0] <= 120
    masked = [replace(looked(), masks={"mask": looked().masks["truth"], **looked().masks})]
    masks = comparison({"Grad-CAM": masked, "GAIN": masked}, height=80)
    assert 160 <= masks.pixels.shape[0] - two.pixels.shape[0] <= 240


def test_a_comparison_of_many_images_goes_on_below() -> None:
    few, many = ([looked(str(number)) for number in range(count)] for count in (2, 12))
    assert comparison({"GAIN": many}).pixels.shape[1] <= WIDEST
    assert comparison({"GAIN": many}).pixels.shape[0] > 2 * comparison({"GAIN": few}).pixels.shape[0]


def test_sheets_of_images_with_many_maps_keep_to_a_page() -> None:
    classes = tuple(f"class {index}" for index in range(30))
    many = replace(looked(classes=tuple(range(30))), classes=classes)
    for drawn in (panel(many), sheet([many, looked()]), comparison({"GAIN": [many]})):
        assert drawn.pixels.shape[1] <= 1.2 * WIDEST
    assert panel(many).pixels.shape[0] > 2 * panel(looked()).pixels.shape[0], "a panel has all maps, in several rows"


def test_a_comparison_of_different_images_is_refused() -> None:
    with pytest.raises(ValueError, match="other images"):
        comparison({"Grad-CAM": [looked("a")], "GAIN": [looked("b")]})


def test_a_class_is_named_at_its_first_map(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, str, bool]] = []
    plain = TilePainter.map

    def kept(self: TilePainter, data: PanelData, index: int, caption: str, *, probability: bool = True) -> Tile | None:
        tile = plain(self, data, index, caption, probability=probability)
        drawn.append((index, caption, tile is not None))
        return tile

    monkeypatch.setattr(TilePainter, "map", kept)
    wrong = replace(looked(), mistaken=frozenset({1}))
    of_cat = looked(classes=(0,))
    comparison(
        {"Grad-CAM": [of_cat, looked("b")], "GAIN": [wrong, looked("b")], "OAA": [wrong, looked("b")]}, height=80
    )
    assert drawn == [
        *((0, "cat", True), (1, "", False), (0, "cat", True), (1, "dog", True)),
        *((0, "", True), (1, "predicted: dog", True), (0, "", True), (1, "", True)),
        *((0, "", True), (1, "", True), (0, "", True), (1, "", True)),
    ]


def test_growth_shows_each_state_in_a_column() -> None:
    two = growth({"epoch 1": looked(), "epoch 2": looked()}, height=80)
    three = growth({"epoch 1": looked(), "epoch 2": looked(), "epoch 3": looked()}, height=80)
    assert three.pixels.shape[1] - two.pixels.shape[1] >= 120
    bare = growth({"epoch 1": looked(mask=False), "epoch 2": looked(mask=False)}, height=80)
    assert two.pixels.shape[1] - bare.pixels.shape[1] >= 120  # the truth
    with pytest.raises(ValueError, match="none of the states"):
        growth({"epoch 1": looked(classes=())})


def test_a_long_name_does_not_spill_over() -> None:
    narrow = grid([[Tile(IMAGE, "a name that is much longer than the tile is wide", "0.93")]], height=40)
    assert narrow.pixels.shape[1] < 90
    named = replace(looked(), classes=("a name that is much longer than the tile is wide " * 9, "dog"))
    height, width = panel(named, height=80).pixels.shape[:2]
    assert width == panel(looked(), height=80).pixels.shape[1]
    assert height <= panel(looked(), height=80).pixels.shape[0] + 20, "one more line of the legend at most"


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        grid([])


def test_a_heading_stands_above() -> None:
    body = Picture(np.zeros((50, 400, 3), np.uint8))
    titled = heading(body, "Title", "subtitle")
    np.testing.assert_array_equal(titled.pixels[-50:, :400], body.pixels)
    assert titled.pixels[:-50].min() < 100


@pytest.mark.parametrize("letter", ["é", "Ł", "Ж", "λ", "ب", "…"])
def test_letters_beyond_ascii_are_not_drawn_as_boxes(letter: str) -> None:
    def drawn(caption: str) -> Picture:
        return grid([[Tile(IMAGE.repeat(4, 0).repeat(4, 1), caption)]], height=120)

    missing = "\ue123"  # for private use: no font has it
    np.testing.assert_array_equal(drawn(missing).pixels, drawn("?").pixels)
    assert (drawn(letter).pixels != drawn(missing).pixels).any()


def test_curves_are_drawn_without_leaving_a_figure() -> None:
    import matplotlib.pyplot as plt

    picture = score_curves({"mIoU": [(0, 0.2), (0.5, 0.4)], "coverage": [(0, 1), (0.5, 0.3)]}, mark=0.5, title="x")
    assert picture.pixels.shape[2] == 3
    assert picture.pixels.std() > 5
    assert not plt.get_fignums()


@pytest.mark.parametrize("best", [(0, 0), (1, 2), (0, 3)])
def test_a_heat_map_frames_its_best_cell(best: tuple[int, int]) -> None:
    values: list[list[float | None]] = [[0.2, None, 0.3, 0.1], [0.3, 0.25, 0.2, 0.1]]
    values[best[0]][best[1]] = 0.8
    labels = {"rows": ("down", [0.1, 0.2]), "columns": ("across", [1, 2, 3, 4])}
    pixels = heat_map(values, **labels, title="$x_ 猫").pixels.astype(int)
    framed = np.argwhere(np.abs(pixels - [209, 73, 91]).sum(-1) < 12)
    middle, (height, width) = framed.mean(0), pixels.shape[:2]
    assert (middle[0] < height / 2) == (best[0] == 1), "the second row is the upper one"
    assert middle[1] / width == pytest.approx((best[1] + 0.9) / 5.6, abs=0.1)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.15, 0.25, [0.15, 0.175, 0.2, 0.225, 0.25]),
        (0.05, 1.0, [0.05, 0.1, 0.2, 0.5, 1.0]),
        (0.0001, 0.1, [0.0001, 0.001, 0.01, 0.1]),
        (1e-12, 1.0, [1e-12, 1e-9, 1e-6, 1e-3, 1.0]),
        (3.0, 4.0, [3.0, 3.25, 3.5, 3.75, 4.0]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([1e9, 1e9 + 5, 1e9 + 10], ["1000000000", "1000000005", "1000000010"]),
        ([0.1, 0.1000001], ["0.1", "0.1000001"]),
        ([1e-05, 0.1], ["1e-05", "0.1"]),
    ],
)
def test_labels_of_ticks_tell_them_apart(ticks: list[float], labels: list[str]) -> None:
    assert distinct_labels(ticks) == labels


def test_the_best_trial_of_a_sweep_is_a_star_of_its_own() -> None:
    space = {"alpha": Dimension(low=0.01, high=1, log=True), "name": Dimension(choices=("$sgd", "猫" * 40, True))}
    names = ("$sgd", "猫" * 40, True)
    trials = [({"alpha": 10.0**-index, "name": names[index]}, 0.1 * index, "done") for index in range(3)]
    trials.append(({"alpha": 0.5, "name": True}, None, "failed"))
    options = {"objective": "seed_miou", "title": "sweep $1_"}
    best = space_picture(trials, space, mark=trials[2][0], **options).pixels.astype(int)
    without = space_picture(trials, space, **options).pixels.astype(int)
    red = [int((np.abs(pixels - [209, 73, 91]).sum(-1) < 12).sum()) for pixels in (best, without)]
    assert red[0] > 100
    assert red[1] == 0


def test_a_trial_without_a_score_is_seen_at_its_value() -> None:
    space = {"lr": Dimension(choices=(0.1, 1e8))}
    options = {"objective": "seed_miou", "title": "s"}
    scored = ({"lr": 0.1}, 0.5, "done")
    failed = space_picture([scored, ({"lr": 1e8}, None, "failed")], space, **options).pixels
    without = space_picture([scored], space, **options).pixels
    middle = failed.shape[1] // 2
    dark = [(pixels.astype(int).max(-1) < 60)[:, middle:].sum() for pixels in (failed, without)]
    assert dark[0] > dark[1] + 20


@pytest.mark.parametrize("score", [0.5, None])
def test_equal_trials_are_counted(score: float | None) -> None:
    """They are drawn at one place, where one covers the others."""
    space = {"lr": Dimension(choices=(0.1, 0.2))}
    options = {"objective": "seed_miou", "title": "s"}
    others: list[Any] = [({"lr": 0.2}, 0.4, "done"), ({"lr": 0.1}, score, "done" if score else "failed")]
    one, two, again = (space_picture([*others, *others[1:] * more], space, **options).pixels for more in (0, 1, 1))
    half = one.shape[1] // 2
    assert (one[:, :half] != two[:, :half]).any()
    assert (two == again).all()


@pytest.mark.parametrize(("choice", "shown"), [(1e8, "1e+08"), (0.1, "0.1"), (0.123456, "0.123456"), (3, "3")])
def test_a_choice_is_written_as_in_the_table_where_that_is_exact(choice: float, shown: str) -> None:
    assert _across(Dimension(choices=(choice, "b")))[1] == [shown, '"b"']


def test_the_page_of_a_sweep_has_scores_in_percent_and_sorts_by_their_values() -> None:
    row = {"number": 0, "values": {"<a>": "<b>"}, "objective": 0.4567, "epoch": 2, "seconds": 1.5, "state": "done"}
    failed = {**row, "number": 1, "objective": None, "state": "failed"}
    page = space_page([row, failed], ["<a>"], objective="seed_miou", title="sweep", best=0)
    assert "<th>seed_miou (%)</th>" in page
    assert '<td data-value="0.4567">45.7</td>' in page
    assert '<td data-value="">-</td>' in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert '<td data-value="0.4567">0.4567</td>' in space_page([row], ["<a>"], objective="train/loss", title="", best=0)


def test_probe_images_are_spread_and_have_labels() -> None:
    from attn.data.sample import Record

    records = [Record(str(index), (0,) if index % 2 else ()) for index in range(20)]
    assert evenly_spaced(records, 3) == [1, 9, 19]
    assert evenly_spaced(records, 100) == list(range(1, 20, 2))
    assert evenly_spaced(records[:1], 3) == evenly_spaced(records, 0) == []
