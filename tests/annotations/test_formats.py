"""Every format against an independent reader of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from attn.annotations import FORMATS, MaskedImage, export_masks
from attn.annotations.format import Shapes
from tests.annotations.drawing import SIZE, brush_pixels, inside, iou

CLASSES = ("black & <white>", 'Zürich"s')
EXACT, POLYGONS = Shapes(), Shapes(polygons=True)
LEAST = 0.9
"""IoU that polygons keep of the first mask's classes at the default tolerance."""
EXACT_POLYGONS = Shapes(polygons=True, tolerance=0)

pycocotools_warns = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of NumPy 2


def exported(images: list[MaskedImage], form: str, folder: Path, shapes: Shapes = EXACT) -> Path:
    done = export_masks(images, CLASSES, form, str(folder / "out"), shapes=shapes)
    assert done.images == len(images)
    assert done.empty == 1
    return folder / "out"


def check(drawn: list[np.ndarray], masks: list[np.ndarray], shapes: Shapes) -> None:
    """The classes (C, H, W) that a reader has drawn of each image."""
    for classes, mask in zip(drawn, masks, strict=True):
        for index, pixels in enumerate(classes):
            if not shapes.polygons or not shapes.tolerance:
                np.testing.assert_array_equal(pixels, mask == index + 1)
            elif mask is masks[0]:
                assert iou(pixels, mask == index + 1) > LEAST


def blank() -> np.ndarray:
    return np.zeros((2, *SIZE), bool)


@pycocotools_warns
@pytest.mark.parametrize("shapes", [EXACT, POLYGONS, EXACT_POLYGONS])
def test_coco(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path, shapes: Shapes) -> None:
    out = exported(images, "coco", tmp_path, shapes)
    coco = COCO(str(out / "annotations/instances_train.json"))
    assert [entry["name"] for entry in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    drawn = []
    for number, entry in sorted(coco.imgs.items()):
        assert (entry["height"], entry["width"]) == SIZE
        assert (out / "train" / entry["file_name"]).read_bytes() == f"image {number - 1}".encode()
        classes = blank()
        for item in coco.imgToAnns[number]:
            pixels = coco.annToMask(item).astype(bool)
            classes[item["category_id"] - 1] |= pixels
            assert (item.get("score"), item["iscrowd"]) == (0.875 if item["category_id"] == 1 else None, 0)
            if not shapes.polygons:
                ys, xs = np.nonzero(pixels)
                left, top = int(xs.min()), int(ys.min())
                assert item["bbox"] == [left, top, int(xs.max()) + 1 - left, int(ys.max()) + 1 - top]
                assert item["area"] == pixels.sum()
        drawn.append(classes)
    check(drawn, masks, shapes)


@pytest.mark.parametrize("shapes", [POLYGONS, EXACT_POLYGONS])
def test_yolo(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path, shapes: Shapes) -> None:
    out = exported(images, "yolo-seg", tmp_path, shapes)
    data = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    assert data["names"] == dict(enumerate(CLASSES))
    drawn = []
    for number, _ in enumerate(images):
        assert (out / data["train"] / f"image {number}.png").is_file()
        classes = blank()
        for line in (out / "labels" / f"image {number}.txt").read_text().splitlines():
            index, *shares = line.split()
            corners = np.array(shares, float).reshape(-1, 2)
            assert ((corners >= 0) & (corners <= 1)).all()
            classes[int(index)] |= inside(corners * SIZE[::-1], SIZE)
        drawn.append(classes)
    check(drawn, masks, shapes)


@pytest.mark.parametrize("shapes", [POLYGONS, EXACT_POLYGONS])
def test_labelme(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path, shapes: Shapes) -> None:
    out = exported(images, "labelme", tmp_path, shapes)
    assert (out / "labels.txt").read_text(encoding="utf-8").splitlines() == list(CLASSES)
    drawn = []
    for number, _ in enumerate(images):
        content = json.loads((out / f"image {number}.json").read_text(encoding="utf-8"))
        assert (out / content["imagePath"]).read_bytes() == f"image {number}".encode()
        assert (content["imageHeight"], content["imageWidth"]) == SIZE
        classes = blank()
        for shape in content["shapes"]:
            assert shape["shape_type"] == "polygon"
            classes[CLASSES.index(shape["label"])] |= inside(shape["points"], SIZE)
        drawn.append(classes)
    check(drawn, masks, shapes)


def test_a_polygon_as_pillow_draws_it(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path) -> None:
    """Pillow draws the border's pixels, too: at ten times the size these are a tenth of a pixel."""
    out = exported(images[:3], "labelme", tmp_path, EXACT_POLYGONS)
    picture = Image.new("1", (SIZE[1] * 10, SIZE[0] * 10))
    for shape in json.loads((out / "image 0.json").read_text(encoding="utf-8"))["shapes"]:
        if shape["label"] == CLASSES[0]:
            ImageDraw.Draw(picture).polygon([(10 * x, 10 * y) for x, y in shape["points"]], fill=1)
    np.testing.assert_array_equal(np.asarray(picture)[5::10, 5::10], masks[0] == 1)


@pytest.mark.parametrize("shapes", [EXACT, POLYGONS, EXACT_POLYGONS])
def test_label_studio(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path, shapes: Shapes) -> None:
    out = exported(images, "label-studio", tmp_path, shapes)
    view = ElementTree.parse(out / "labeling.xml").getroot()
    kind = "PolygonLabels" if shapes.polygons else "BrushLabels"
    labels = view.find(kind)
    assert labels is not None
    assert [label.attrib["value"] for label in labels] == list(CLASSES)
    drawn = []
    for number, task in enumerate(json.loads((out / "tasks.json").read_text(encoding="utf-8"))):
        place = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        assert (out / place).read_bytes() == f"image {number}".encode()
        (prediction,) = task["predictions"]
        assert len({result["id"] for result in prediction["result"]}) == len(prediction["result"])
        drawn.append(blank())
        for result in prediction["result"]:
            assert (result["from_name"], result["to_name"]) == (labels.attrib["name"], view[0].attrib["name"])
            assert (result["original_height"], result["original_width"]) == SIZE
            value = result["value"]
            (name,) = value[kind.lower()]
            assert result["type"] == kind.lower()
            assert result.get("score") == (0.875 if name == CLASSES[0] else None)
            pixels = (
                inside(np.array(value["points"]) / 100 * SIZE[::-1], SIZE)
                if shapes.polygons
                else brush_pixels(value["rle"], SIZE)
            )
            drawn[-1][CLASSES.index(name)] |= pixels
    check(drawn, masks, shapes)


@pytest.mark.parametrize("shapes", [EXACT, POLYGONS, EXACT_POLYGONS])
def test_cvat(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path, shapes: Shapes) -> None:
    out = exported(images, "cvat", tmp_path, shapes)
    root = ElementTree.parse(out / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iter("label")] == list(CLASSES)
    raw = json.loads((out / "labels.json").read_text(encoding="utf-8"))
    assert [label["name"] for label in raw] == list(CLASSES)
    drawn = []
    for number, image in enumerate(root.iter("image")):
        assert (image.attrib["id"], image.attrib["name"]) == (str(number), f"image {number}.png")
        assert (image.attrib["height"], image.attrib["width"]) == tuple(map(str, SIZE))
        assert (out / "images" / image.attrib["name"]).is_file()
        drawn.append(blank())
        for shape in image:
            drawn[-1][CLASSES.index(shape.attrib["label"])] |= cvat_pixels(shape.tag, shape.attrib)
    check(drawn, masks, shapes)


def cvat_pixels(kind: str, values: dict[str, str]) -> np.ndarray:
    if kind == "polygon":
        return inside([[float(n) for n in point.split(",")] for point in values["points"].split(";")], SIZE)
    left, top, width, height = (int(values[name]) for name in ("left", "top", "width", "height"))
    runs = [int(length) for length in values["rle"].split(",")]
    result = np.zeros(SIZE, bool)
    box = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    result[top : top + height, left : left + width] = box
    return result


def test_voc(images: list[MaskedImage], masks: list[np.ndarray], tmp_path: Path) -> None:
    out = exported(images, "voc", tmp_path)
    names = (out / "ImageSets/Segmentation/train.txt").read_text().splitlines()
    colours = dict(line.split(":")[:2] for line in (out / "labelmap.txt").read_text(encoding="utf-8").splitlines())
    assert list(colours) == ["background", *CLASSES]
    for name, mask in zip(names, masks, strict=True):
        assert " " not in name, "a list of VOC has a name a line, without spaces"
        with Image.open(out / "SegmentationClass" / f"{name}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), mask)  # open pixels stay void
            rgb = np.asarray(picture.convert("RGB"))
        for value, colour in enumerate(colours.values()):
            assert (rgb[mask == value] == [int(number) for number in colour.split(",")]).all()


@pytest.mark.parametrize("form", FORMATS)
def test_images_may_be_left_out(images: list[MaskedImage], tmp_path: Path, form: str) -> None:
    def unread() -> bytes:
        raise AssertionError("an image is read")

    bare: list[Any] = [MaskedImage(one.image_id, one.file, one.mask, one.classes, unread) for one in images]
    export_masks(bare, CLASSES, form, str(tmp_path / "out"), copy=False)
    read = {path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert read
    assert not any(content.startswith(b"image ") and content[6:].isdigit() for content in read)
