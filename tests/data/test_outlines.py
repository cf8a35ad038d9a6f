"""COCO outlines as pixels, and annotations of images with an EXIF orientation or another size."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from attn.data.boxes import box_regions, boxes_of
from attn.data.check import check_config
from attn.data.dataset import AttentionDataset
from attn.data.outlines import decode_outline
from attn.data.source import SourceConfig
from attn.data.sources import CocoConfig, ManifestConfig, VocConfig
from attn.data.transforms import InputConfig
from attn.data.view import with_classes
from attn.errors import DataError
from benchmarks.store.memory import Peak

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of NumPy 2, in pycocotools
SIZE = (20, 30)
NAMES = ("a_1", "b_2", "c_3")
SQUARE = [4, 4, 8, 4, 8, 8, 4, 8]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_rles_of_pycocotools_are_decoded(seed: int, height: int, width: int, share: float) -> None:
    from pycocotools import mask as rle

    mask = np.random.default_rng(seed).random((height, width)) < share
    coded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = coded["counts"]
    assert isinstance(counts, bytes)
    outline = decode_outline({"size": [height, width], "counts": counts.decode()}, (height, width))
    np.testing.assert_array_equal(outline.pixels(), mask)
    assert outline.area == mask.sum()


def test_polygons_are_drawn_where_they_are() -> None:
    square = decode_outline([SQUARE], SIZE).pixels()
    assert square[4:8, 4:8].all()
    assert square.sum() == 16
    assert (
        decode_outline([SQUARE, [20, 0, 40, 0, 40, 30, 20, 30]], SIZE).pixels()[:, 20:].all()
    )  # the part beyond the edges is cut off
    assert not decode_outline([[4, 4, 8, 8], [3, 3], []], SIZE).pixels().any()  # two points are a line, and no box


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ([[4, 4, math.nan, 4, 8, 8]], "a polygon has x=nan, but the image is 30x20"),
        ([[4, 4, 8, -math.inf, 8, 8]], "a polygon has y=-inf"),
        ([[4, 4, 1e7, 4, 8, 8]], "a polygon has x=1e\\+07"),
        ([SQUARE, [4, 4, 8, 1e10, 8, 8]], "a polygon has y=1e\\+10"),
        ([[4, 4, 8, 10**400, 8, 8]], "is not \\[x1"),
        ([[4, 4, 8, 4, 8]], "is not \\[x1"),
        ([["4", "4", "8", "4", "8", "8"]], "is not \\[x1"),
        ([[4, [4], 8, 4, 8, 8]], "is not \\[x1"),
        (SQUARE, "the polygon 4 is not"),
        ("x", "neither a list of polygons nor"),
        ({"size": [20, 30], "counts": [600, 1]}, "does not add up to 30x20 pixels"),
        ({"size": [20, 30], "counts": [-1, 601]}, "does not add up"),
        ({"size": [20, 30], "counts": [10**30]}, "does not add up"),
        ({"size": [20, 30], "counts": [600.0]}, "does not add up"),
        ({"size": [20, 30], "counts": "zzzz"}, "does not add up"),
        ({"size": [20, 30], "counts": "o" * 40}, "does not add up"),
        ({"size": [20, 30], "counts": "o" * 3_000_000}, "does not add up"),
        ({"size": [20, 30], "counts": "\u00ff"}, "does not add up"),
        ({"size": [20, 30]}, "does not add up"),
        ({"size": [30, 20], "counts": [600]}, "for a 20x30 image, but the image is 30x20"),
        ({"counts": [600]}, "for a None image"),
    ],
)
def test_broken_outlines_are_refused(outline: Any, words: str) -> None:
    peak = Peak()
    with pytest.raises(ValueError, match=words):
        decode_outline(outline, SIZE)
    assert peak.bytes < 50_000_000


@pytest.mark.parametrize(
    "bbox", [[math.nan, 1, 2, 3], [1, 2, math.inf, 3], [5, 5, -2, 3], [1, 2, 3, 10**400], "1234", [1]]
)
def test_invalid_boxes_are_refused_by_name(tmp_path: Path, make: Any, bbox: Any) -> None:
    content = make.coco()
    content["annotations"][1]["bbox"] = bbox
    root = make.write(tmp_path, make.coco_files() | {"annotations/instances_val.json": json.dumps(content)})
    _refused(CocoConfig(root=str(root), split="val"), r"annotations\[1\] has an invalid bbox")


@pytest.mark.parametrize("box", ["[NaN, 1, 2, 3]", "[1, 2, Infinity, 3]", "[5, 5, 4, 8]", "[5, 8, 6, 5]"])
def test_boxes_of_tables_and_voc_likewise(voc: Path, tmp_path: Path, make: Any, box: str) -> None:
    row = f'image,labels,boxes\na.jpg,cat,"[{{""label"": ""cat"", ""box"": {box}}}]"\n'
    table = make.write(tmp_path / "table", {"list.csv": row, "a.jpg": make.jpeg(0)}) / "list.csv"
    _refused(ManifestConfig(manifest=str(table)), "row 1: boxes is")
    files = {f"VOC2012/Annotations/{name}.xml": make.annotation(("cat", 0, (1, 1, 5, 5))) for name in NAMES}
    corners = json.loads(box.replace("NaN", '"nan"').replace("Infinity", '"inf"'))
    files["VOC2012/Annotations/b_2.xml"] = make.annotation(("cat", 0, [corners[0], corners[1], corners[2], corners[3]]))
    make.write(voc, files)
    if box != "[5, 5, 4, 8]":  # which is an empty box where the last pixel is included
        _refused(VocConfig(root=str(voc)), "b_2.xml: is not a VOC annotation")


def _refused(config: SourceConfig, words: str) -> None:
    """Training and the check both refuse, for the same reason."""
    with pytest.raises(DataError, match=words):
        config.build()
    report = check_config(config)
    assert not report.ok
    assert any(re.search(words, finding.message) for finding in report.errors)


# annotations of turned photographs, and of images of another size


def flagged(make: Any, flag: int, size: tuple[int, int] = SIZE) -> tuple[bytes, Image.Image]:
    """A photograph with EXIF's orientation, and Pillow's own upright picture of it."""
    exif = Image.Exif()
    exif[0x0112] = flag
    data = make.encode(Image.open(io.BytesIO(make.jpeg(flag, size))), "JPEG", exif=exif)
    return data, ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def as_upright(pixels: np.ndarray, flag: int) -> np.ndarray:
    """Pillow's upright version of stored pixels with that orientation."""
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = flag
    return np.asarray(ImageOps.exif_transpose(picture))


def coco_of(tmp_path: Path, make: Any, image: bytes, size: tuple[int, int] | None, box: list[float]) -> CocoConfig:
    left, top, width, height = box
    polygon = [left, top, left + width, top, left + width, top + height, left, top + height]
    content = {
        "images": [{"id": 1, "file_name": "1.jpg"} | ({"height": size[0], "width": size[1]} if size else {})],
        "categories": [{"id": 5, "name": "ant"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 5, "bbox": box, "segmentation": [polygon]}],
    }
    make.write(tmp_path, {"annotations/instances_val.json": json.dumps(content), "val/1.jpg": image})
    return CocoConfig(root=str(tmp_path), split="val")


@pytest.mark.parametrize("flag", range(1, 9))
def test_coco_annotations_are_turned_with_their_photograph(tmp_path: Path, make: Any, flag: int) -> None:
    image, picture = flagged(make, flag)
    upright = (picture.height, picture.width)
    for own, frame in (("stored", SIZE), ("upright", upright)):
        config = coco_of(tmp_path, make, image, frame, [2, 3, 9, 5])
        source = with_classes(config.build(), ("bee", "ant"), name="a", other="b")
        if flag in (2, 3, 4):
            with pytest.raises(DataError, match=rf"1\.jpg: .*30x20 pixels, which fits both ways.*orientation {flag}"):
                source.load(0)
            report = check_config(config)
            assert {finding.kind for finding in report.errors} == {"mask", "boxes"}
            assert source.load(0, mask=False).image.shape[:2] == upright  # labels alone do not mind
            continue
        expected = np.zeros(frame, np.uint8)
        expected[3:8, 2:11] = 2
        expected = as_upright(expected, flag) if own == "stored" else expected
        example = source.load(0)
        np.testing.assert_array_equal(example.image, np.asarray(picture))
        np.testing.assert_array_equal(example.mask, expected)
        np.testing.assert_array_equal(box_regions(boxes_of(example), (1,), upright)[0], expected == 2)
        assert check_config(config).ok


def test_annotations_of_another_size_are_refused(tmp_path: Path, make: Any) -> None:
    config = coco_of(tmp_path, make, make.jpeg(0), (40, 60), [2, 3, 9, 5])
    with pytest.raises(DataError, match=r"1\.jpg: the annotation .*json#1 is for 60x40 pixels, but .* has 30x20"):
        config.build().load(0)
    report = check_config(config)
    assert {finding.kind for finding in report.errors} == {"mask", "boxes"}
    turned, _ = flagged(make, 6)
    with pytest.raises(DataError, match="has no size: the image has EXIF orientation 6"):
        coco_of(tmp_path, make, turned, None, [2, 3, 9, 5]).build().load(0)
    for size in ([0, 5], [20.5, 30], [True, 30], ["20", 30]):
        with pytest.raises(DataError, match=r"images\[0\] has a width or height that is not a number of pixels"):
            coco_of(tmp_path, make, turned, tuple(size), [2, 3, 9, 5]).build()  # pyright: ignore[reportArgumentType]


def test_voc_boxes_for_another_size_or_outside_of_the_image(voc: Path, make: Any) -> None:
    size = "<annotation><size><width>{1}</width><height>{0}</height></size>"
    plain = {f"VOC2012/Annotations/{name}.xml": make.annotation(("cat", 0, (1, 1, 5, 5))) for name in NAMES}
    turned, _ = flagged(make, 6)
    stored = np.zeros(SIZE, np.uint8)
    stored[:5, :5] = 1
    for sizes, image, box, words in [
        ((20, 30), None, None, None),
        ((20, 30), turned, None, None),
        ((200, 300), None, None, "is for 300x200 pixels, but the image has 30x20"),
        ((20, 30), None, (41, 1, 45, 5), "is outside of the image of 30x20 pixels"),
    ]:
        text = make.annotation(("cat", 0, box or (1, 1, 5, 5))).replace("<annotation>", size.format(*sizes))
        make.write(
            voc, plain | {"VOC2012/Annotations/a_1.xml": text, "VOC2012/JPEGImages/a_1.jpg": image or make.jpeg(0)}
        )
        config = VocConfig(root=str(voc), masks=None)
        dataset = AttentionDataset(
            config.build(), InputConfig(size=24), train=False, supervised=[0], region_kind="boxes"
        )
        if words is None:
            example = dataset.source.load(0)
            expected = as_upright(stored, 6) if image else stored
            np.testing.assert_array_equal(box_regions(boxes_of(example), (7,), expected.shape)[0], expected)
            assert dataset[0].regions is not None
            assert check_config(config).ok
        else:
            with pytest.raises(DataError, match=words):
                dataset[0]
            assert [finding.kind for finding in check_config(config).errors] == ["boxes"]


def test_a_table_does_not_say_in_which_frame_its_boxes_are(tmp_path: Path, make: Any) -> None:
    turned, _ = flagged(make, 8)
    row = 'image,labels,boxes\na.jpg,cat,"[{""label"": ""cat"", ""box"": [1, 1, 5, 5]}]"\n'
    table = make.write(tmp_path, {"list.csv": row, "a.jpg": turned}) / "list.csv"
    example = ManifestConfig(manifest=str(table)).build().load(0)
    with pytest.raises(
        DataError, match=r"a\.jpg: .* has no size: the image has EXIF orientation 8, .*Save the image without that tag"
    ):
        boxes_of(example)


def test_masks_without_a_labelled_pixel_supervise_nothing(tmp_path: Path, make: Any) -> None:
    files = {"list.csv": "image,labels,mask\na.jpg,cat,a.png\nb.jpg,,\n", "a.png": make.png(make.mask(0))}
    root = make.write(tmp_path, files | {"a.jpg": make.jpeg(0), "b.jpg": make.jpeg(1)})
    config = ManifestConfig(manifest=str(root / "list.csv"))
    for kind in ("boxes", "masks"):
        sample = AttentionDataset(config.build(), InputConfig(size=24), train=False, supervised=[0], region_kind=kind)[
            0
        ]
        assert sample.regions is None
    assert [str(finding) for finding in check_config(config).findings if finding.image_id == "a"] == [
        "warning (mask) a (row 1): labelled cat, but the mask has none of it"
    ]
