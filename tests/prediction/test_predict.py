"""`attn predict`: labels, maps and masks of files and folders, of this machine and S3; a broken image stops nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from attn.data.decode import read_image, read_mask
from attn.data.sample import Record, Sample, collate
from attn.data.sources.folder import FolderConfig
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import at_scale, prepare, to_input
from attn.display import percent
from attn.errors import ConfigError, DataError
from attn.evaluation.inference import image_maps
from attn.files.spreadsheet import csv_table
from attn.maps.dense_crf import OAA_CRF
from attn.maps.settings import MapSettings
from attn.models.bundle import load_bundle
from attn.pictures.legend import PROBABILITY, Entry
from attn.pictures.tiles import TilePainter
from attn.prediction import ImagePredictConfig, ImagePrediction, find_images, open_predictor
from attn.prediction.classifier import mask_of_maps
from attn.prediction.summary import COLUMNS, fault_row, summary_row
from attn.prediction.write import panel_of
from tests.bundles import CLASSES, tiny_bundle, tiny_segmenter
from tests.services.cli.conftest import Attn
from tests.services.cli.conftest import attn as attn  # the command line as a function

TILE = np.zeros((13, 20, 3), np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(tiny_bundle(tmp_path / "model"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two images, one of them broken, and a text."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = ScenesConfig(count=1, size=64).build().load(0).image
    Image.fromarray(image[:, :60]).save(folder / "a b.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_picture_without_a_predicted_class_has_the_best_guess(
    model: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(TilePainter, "explain", lambda self, picture: notes.append(self.note) or picture)
    image = read_image(str(pictures / "a b.png"))
    for probability in (0.999, 0.001):
        predicted = open_predictor(model, ImagePredictConfig(probability=probability))(image)
        panel_of(predicted)
    best = max(predicted.probabilities, key=predicted.probabilities.__getitem__)
    shown = f"{100 * predicted.probabilities[best]:.1f} %"
    assert notes == [f"best guess: {best} {shown}; no class is predicted", ""]


def test_the_best_guess_is_listed(attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path) -> None:
    done = attn("predict", str(pictures), "--model", model, "--out", str(tmp_path / "out"), "--probability", "0.999")
    probabilities = json.loads((tmp_path / "out/a_b/prediction.json").read_text())["probabilities"]
    best = max(probabilities, key=probabilities.__getitem__)
    assert f"best guess: {best} {100 * probabilities[best]:.1f} %; no class is predicted" in done.out


def test_a_folder(attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = attn("predict", str(pictures), "--model", model, "--out", str(out), "--probability", "0.4", "--json")
    data = done.json
    assert (done.status, data["task"], len(data["images"])) == (1, "classification", 1)
    (failed,) = data["failed"]
    assert failed["image"].endswith("broken.jpg")
    (one,) = data["images"]
    assert json.loads((out / "a_b" / "prediction.json").read_text()) == one
    assert (one["size"], one["height"], one["width"]) == ([64, 60], 64, 60)
    assert {label["class"] for label in one["labels"]} == {c for c, p in one["probabilities"].items() if p > 0.4}
    mask = read_mask(str(out / "a_b" / "mask.png"), (64, 60), len(CLASSES))
    for label in one["labels"]:
        index = CLASSES.index(label["class"]) + 1
        assert label["share"] == pytest.approx((mask == index).mean())
        assert (label["value"], label["index"]) == (index, index - 1)
        assert one["files"]["maps"][label["class"]].startswith(f"map-{label['index']:02d}-")
        pixels = np.array(Image.open(out / "a_b" / one["files"]["maps"][label["class"]]))
        assert (pixels.shape, pixels.dtype) == ((64, 60), np.uint8)
    assert Image.open(out / "a_b" / "mask.png").mode == "P"
    assert (out / "a_b" / "panel.png").is_file()
    header, first, second = csv.reader((out / "summary.csv").read_text().splitlines())
    assert header == [
        "image",
        "labels",
        "probabilities",
        "best_guess",
        "best_probability",
        "mask",
        "problem",
        "image_id",
        "removed_by_crf",
        "maps",
    ]
    assert (Path(first[0]).name, first[1].split("|")) == ("a b.png", [label["class"] for label in one["labels"]])
    assert [float(cell) for cell in first[2].split("|")] == pytest.approx(
        [label["probability"] for label in one["labels"]], abs=1e-4
    )
    best = max(one["probabilities"], key=one["probabilities"].__getitem__)
    assert (first[3], float(first[4])) == (best, pytest.approx(one["probabilities"][best], abs=1e-4))
    assert (first[5:], second[1:6]) == ([str(out / "a_b" / "mask.png"), "", "a b", "", ""], [""] * 5)
    assert (Path(second[0]).name, second[6]) == ("broken.jpg", failed["problem"])
    assert data["summary"] == str(out / "summary.csv")
    assert "skipped: " in attn("predict", str(pictures), "--model", model, "--out", str(out)).out


def test_it_says_what_evaluation_sees(model: str, pictures: Path) -> None:
    image = read_image(str(pictures / "a b.png"))
    result = open_predictor(model, ImagePredictConfig(classes=CLASSES[:2], threshold=0.25))(image)
    bundle = load_bundle(model)
    pixels, geometry = prepare(bundle.input, image)
    sample = Sample(0, Record("x", (0, 1)), pixels, torch.tensor([1.0, 1.0, 0.0]), geometry)
    (seen,) = image_maps(bundle.network, collate([sample]), kind="grad_cam")
    assert set(result.labels) == set(CLASSES[:2])
    for index in (0, 1):
        np.testing.assert_array_equal(result.maps[CLASSES[index]][slice(0, 64)], seen.maps[index])
    stack = np.stack([np.full(image.shape[:2], np.float32(0.25)), seen.maps[0], seen.maps[1]])
    np.testing.assert_array_equal(result.mask, stack.argmax(0))


def test_maps_of_several_scales_are_those_of_evaluation(
    attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path
) -> None:
    image, maps = read_image(str(pictures / "a b.png")), MapSettings(scales=(0.5, 1, 2), flip=True)
    plain, predictor = (
        open_predictor(model, ImagePredictConfig(classes=CLASSES[:1], maps=one)) for one in (MapSettings(), maps)
    )
    bundle, result = load_bundle(model), predictor(image)
    pixels, geometry = prepare(bundle.input, image)
    others = tuple(to_input(bundle.input, image, at_scale(geometry, scale, 8)) for scale in (0.5, 2))
    sample = Sample(0, Record("x", (0,)), pixels, torch.tensor([1.0, 0.0, 0.0]), geometry, scaled=others)
    (seen,) = image_maps(bundle.network, collate([sample]), kind="grad_cam", settings=maps)
    np.testing.assert_allclose(result.map(CLASSES[0]), seen.maps[0], atol=1e-6)
    assert np.abs(plain(image).map(CLASSES[0]) - seen.maps[0]).max() > 0.01
    assert result.probabilities == plain(image).probabilities
    assert (plain.min_side, predictor.min_side) == (2 * 48, 4 * 48)
    options = ["maps.scales=[0.5, 1, 2]", "maps.flip=true", "--classes", CLASSES[0], "--json"]
    data = attn("predict", str(pictures / "a b.png"), "--model", model, "--out", str(tmp_path / "o"), *options).json
    (one,) = data["images"]
    assert data["maps"] == {"scales": [0.5, 1.0, 2.0], "flip": True}
    assert "3 scales, flip" in (tmp_path / "o/summary.csv").read_text().splitlines()[1]
    written = np.array(Image.open(tmp_path / "o" / "a_b" / one["files"]["maps"][CLASSES[0]]))
    assert np.abs(written - 255 * seen.maps[0]).max() <= 0.51
    wrong = attn("predict", str(pictures / "a b.png"), "--model", model, "maps.scales=[0.01]")
    assert (wrong.status, "maps.scales: 0.01 makes inputs" in wrong.err) == (2, True), wrong.err
    with pytest.raises(ConfigError, match=r"maps\.flip: applies to classifiers only"):
        open_predictor(tiny_segmenter(tmp_path / "s"), ImagePredictConfig(maps=MapSettings(flip=True)))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_what_is_made_in_strips_is_the_same_as_a_whole(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    model = tiny_bundle(tmp_path / "model") if task == "classification" else tiny_segmenter(tmp_path / "model")
    predictor = open_predictor(model, ImagePredictConfig(classes=CLASSES, crf=None))
    image = read_image(str(pictures / "a b.png"))
    whole, expected = slice(0, 64), predictor(image)
    before = {name: expected.maps[name][whole] for name in CLASSES}
    panel = panel_of(expected).pixels
    monkeypatch.setattr("attn.evaluation.inference.STRIP", 7 * 60)
    result = predictor(image)
    assert list(result.maps) == list(expected.maps)
    for name in CLASSES:
        assert result.maps[name].shape == (64, 60)
        np.testing.assert_allclose(result.maps[name][whole], before[name], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result.mask, expected.mask)
    np.testing.assert_array_equal(panel_of(result).pixels, panel)
    assert result.to_json() == expected.to_json()


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_large_image_is_seen_reduced_and_answered_at_its_size(
    attn: Attn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, suffix: str
) -> None:
    """The answers are those of all pixels, but for what the smoothing of a large image leaves open."""
    model = tiny_bundle(tmp_path / "model") if task == "classification" else tiny_segmenter(tmp_path / "model")
    scene = ScenesConfig(count=1, size=320).build().load(0).image
    file = tmp_path / f"large{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6  # its rows are the picture's columns
    Image.fromarray(np.repeat(np.repeat(scene, 4, 0), 3, 1)).save(file, exif=exif)
    answers: list[dict[str, Any]] = []
    masks, maps = list[np.ndarray](), list[np.ndarray]()
    for number, large in enumerate((1 << 24, 1 << 10)):
        monkeypatch.setattr("attn.data.decode.REDUCE_FROM_PIXELS", large)
        out = tmp_path / f"out{number}"
        done = attn("predict", str(file), "--model", str(model), "--out", str(out), "--classes", "boat,plane", "--json")
        (answer,) = done.json["images"]
        answers.append(answer)
        masks.append(np.array(Image.open(out / "large" / "mask.png")))
        maps.append(np.array(Image.open(out / "large" / answer["files"]["maps"]["boat"])).astype(int))
    assert answers[0]["size"] == answers[1]["size"] == [960, 1280]
    assert masks[0].shape == masks[1].shape == maps[0].shape == maps[1].shape == (960, 1280)
    for name, probability in answers[0]["probabilities"].items():
        assert answers[1]["probabilities"][name] == pytest.approx(probability, abs=0.01)
    assert (masks[0] != masks[1]).mean() < 0.02
    assert np.abs(maps[0] - maps[1]).mean() < 3


def test_what_is_told_and_drawn_of_a_large_image_does_not_fill_the_memory() -> None:
    size = (6000, 4000)  # 24 million pixels, as any camera's
    mask = np.zeros(size, np.uint8)
    mask[:3000] = 1
    values = np.zeros(size, np.float32)
    image = np.zeros((750, 500, 3), np.uint8)
    result = ImagePrediction(image, ("a",), {"a": 1.0}, ("a",), {"a": values}, mask)
    for work, most in ((result.to_json, 1), (lambda: panel_of(result), 60)):
        tracemalloc.start()
        try:
            work()
            assert tracemalloc.get_traced_memory()[1] < most << 20
        finally:
            tracemalloc.stop()
    assert result.to_json()["labels"] == [{"class": "a", "probability": 1.0, "share": 0.5, "value": 1, "index": 0}]


def test_a_class_that_the_crf_removes_is_named(
    attn: Callable[..., Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def background(image: Any, probs: NDArray[np.float32], crf: Any) -> NDArray[np.float32]:
        return np.eye(len(probs), dtype=np.float32)[0][:, None, None] + 0 * probs

    model, out = str(tiny_segmenter(tmp_path / "segmenter")), tmp_path / "out"
    plain = open_predictor(model, ImagePredictConfig(device="cpu"))(read_image(str(pictures / "a b.png")))
    assert (plain.removed, plain.task) == ((), "segmentation")
    assert plain.labels, "else there is nothing to remove"
    legends: list[str] = []
    monkeypatch.setattr("attn.pictures.tiles.map_entry", lambda text: legends.append(text) or Entry(TILE, text))
    monkeypatch.setattr("attn.prediction.segmenter.dense_crf", background)
    arguments = ("predict", str(pictures / "a b.png"), "--model", model, "--out", str(out), "--crf")
    expected = ", ".join(f"{name} {percent(plain.probabilities[name])} %" for name in plain.labels)
    assert f"{expected}, removed by the CRF" in attn(*arguments).out
    assert legends == [], "no map is drawn"
    data = json.loads((out / "a_b" / "prediction.json").read_text())
    assert (data["labels"], tuple(data["removed_by_crf"])) == ([], plain.labels)
    (row,) = csv.DictReader((out / "summary.csv").read_text().splitlines())
    assert (row["labels"], row["removed_by_crf"]) == ("", "|".join(plain.labels))
    panel_of(plain)
    assert legends == [PROBABILITY]


def test_the_crf_follows_the_edges() -> None:
    image = np.zeros((24, 24, 3), np.uint8)
    image[:, 12:] = 255
    values = np.zeros((24, 24), np.float32)
    values[:, 10:] = 0.6
    plain = mask_of_maps({2: values}, (24, 24), threshold=0.3)
    refined = mask_of_maps({2: values}, (24, 24), threshold=0.3, crf=(image, OAA_CRF))
    assert (plain[:, 10:] == 2).all()
    assert set(np.unique(refined)) <= {0, 2}
    assert (refined[:, 12:] == 2).all()
    assert (mask_of_maps({}, (24, 24), threshold=0.3) == 0).all()


def test_s3(attn: Callable[..., Any], model: str, pictures: Path, s3_server: str) -> None:
    client = boto3.Session().client("s3")
    client.upload_file(str(pictures / "a b.png"), "attn-test", "in/x.png")
    client.close()
    done = attn("predict", f"{s3_server}/in/", "--model", model, "--out", f"{s3_server}/out", "--crf", "--json")
    assert (done.status, done.json["images"][0]["folder"]) == (0, f"{s3_server}/out/x"), done.err
    assert read_image(f"{s3_server}/out/x/panel.png").shape[2] == 3


def test_names(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", ".hidden.png", "c.txt"):
        (tmp_path / name).touch()
    assert find_images([str(tmp_path), "b/a.jpg"]) == {
        "a": (f"{tmp_path}/a.jpg", "a"), "a-2": (f"{tmp_path}/a.png", "a"), "a-3": ("b/a.jpg", "a"),
    }  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        find_images([str(tmp_path / "empty")])


def test_images_in_subfolders_have_the_ids_of_folder_data(tmp_path: Path) -> None:
    """Hidden folders, folders of earlier predictions, and folders that links lead back to are left out."""
    for name in ("val/cat/1.jpg", "val/cat/more/2.jpg", "val/big dog/1.PNG", "val/.hidden/3.jpg", "val/0.jpg",
                 "val/cat/notes.txt", "val/predictions/1/panel.png", "val/predictions/1/prediction.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "val" / "cat" / "back").symlink_to(tmp_path / "val")
    found = find_images([f"{tmp_path}/val"])
    assert list(found) == ["0", "big_dog/1", "cat/1", "cat/more/2"]
    assert [one.image_id for one in found.values()] == ["0", "big dog/1", "cat/1", "cat/more/2"]
    assert found["cat/1"].location == f"{tmp_path}/val/cat/1.jpg"
    folder = FolderConfig(root=str(tmp_path), split="val")
    assert {record.image_id for record in folder.open().records} == {"big dog/1", "cat/1"}


def test_a_folder_of_classes_is_predicted_below_its_own_names(
    attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).mkdir(parents=True)
        shutil.copy(pictures / "a b.png", tmp_path / "val" / name / "1.png")
    out = tmp_path / "out"
    done = attn("predict", str(tmp_path / "val"), "--model", model, "--out", str(out), "--json")
    assert done.status == 0, done.err
    assert "2 images in 2 folders\n" in done.err
    assert [one["folder"] for one in done.json["images"]] == [f"{out}/cat/1", f"{out}/dog/1"]
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert [row["image_id"] for row in rows] == ["cat/1", "dog/1"]
    assert Path(rows[0]["mask"]).is_file()


def test_bad_input(attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path) -> None:
    for words, options in (
        (["has no class 'bout'", "did you mean boat?"], ["--classes", "bout", "--model", model]),
        (["probability"], ["--probability", "2", "--model", model]),
        (["no trained model"], ["--model", "nothing"]),
    ):
        done = attn("predict", str(pictures), "--out", str(tmp_path / "out"), *options)
        assert done.status in (1, 2)
        assert done.err.count("error: ") == 1
        for word in words:
            assert word in done.err
    with pytest.raises(ConfigError):
        open_predictor(model, ImagePredictConfig(classes=("nothing",)))


def test_more_classes_than_a_mask_has_numbers(attn: Attn, pictures: Path, tmp_path: Path) -> None:
    """The labels of the image are numbered then, and the answer says how."""
    classes = tuple(f"class{number}" for number in range(1000))
    model = tiny_bundle(tmp_path / "model", classes=classes)
    out = tmp_path / "out"
    wanted = ["--classes", "class7,class700,class999", "--threshold", "0.1"]
    done = attn("predict", str(pictures / "a b.png"), "--model", str(model), "--out", str(out), *wanted, "--json")
    (one,) = done.json["images"]
    assert [label["value"] for label in one["labels"]] == [1, 2, 3]
    assert {label["class"] for label in one["labels"]} == {"class7", "class700", "class999"}
    mask = np.array(Image.open(out / "a_b" / "mask.png"))
    for label in one["labels"]:
        assert label["share"] == pytest.approx((mask == label["value"]).mean())
    assert set(np.unique(mask)) - {0}
    with pytest.raises(ConfigError, match="has 1 to 254 classes, as its masks, not 1000"):
        tiny_segmenter(tmp_path / "segmenter", classes=classes)


def test_the_best_guess_is_there_below_the_threshold_and_of_segmentation_too(
    attn: Callable[..., Any], model: str, pictures: Path, tmp_path: Path
) -> None:
    """An image whose folder would have the table's name gets another one."""
    segmenter = str(tiny_segmenter(tmp_path / "segmenter"))
    image = pictures / "summary.csv.png"
    (pictures / "a b.png").rename(image)
    for number, (which, more) in enumerate(((model, ["--probability", "0.999"]), (segmenter, []))):
        out = tmp_path / f"out-{number}"
        done = attn("predict", str(image), "--model", which, "--out", str(out), *more, "--json").json["images"][0]
        (row,) = csv.DictReader((out / "summary.csv").read_text().splitlines())
        assert row["best_guess"] == max(done["probabilities"], key=done["probabilities"].__getitem__)
        assert row["labels"] == "|".join(label["class"] for label in done["labels"])
        assert row["mask"] == str(out / "summary.csv-2" / "mask.png")
        values = {row["name"]: int(row["value"]) for row in csv.DictReader((out / "classes.csv").open())}
        assert {label["class"]: label["value"] for label in done["labels"]}.items() <= values.items()
        assert Path(row["mask"]).is_file()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    """In the table of predictions, and in any other: cells are texts of somebody's data."""
    predicted = {
        "labels": [{"class": text, "probability": 0.5}],
        "probabilities": {text: 0.5},
        "folder": text,
        "files": {"mask": "mask.png"},
        "removed_by_crf": [text],
    }
    rows = [summary_row(text, text, predicted), fault_row("a", "a", text)]
    table = list(csv.reader(io.StringIO(csv_table([text, *COLUMNS[1:]], rows), newline="")))
    cells = [cell for row in table for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert [len(row) for row in table] == [10, 10, 10]
    if text.isprintable():
        quoted = [cell[1:] for cell in cells if cell.startswith("'")]
        assert quoted == [*[text] * 4, f"{text}/mask.png", text, text, text]
    assert csv_table(["a"], [[-0.5], [None], ["b-c"]]) == 'a\n-0.5\n""\nb-c\n'
