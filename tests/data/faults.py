"""What can be wrong with a data set, by name: how to make it so, where it applies, and whether it is refused."""

from __future__ import annotations

import codecs
import math
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from tests.data.layouts import SIZE, DataSet, annotation, csv_of, encode, grey, photograph

FILES = ("folder", "csv", "parquet", "voc", "coco")
TABLES = ("csv", "parquet")
Verdict = Literal["refused", "read", "warned"]
"""`warned`: a classifier cannot be trained on it, but the data may be of use otherwise."""


@dataclass(frozen=True)
class Fault:
    apply: Callable[[DataSet], None]
    layouts: tuple[str, ...]
    verdict: Verdict


def _exif(flag: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = flag
    return exif


def _with_junk() -> bytes:
    whole, junk = encode(photograph(1), "JPEG"), b"Exif\0\0junk"
    return whole[:2] + b"\xff\xe1" + (len(junk) + 2).to_bytes(2, "big") + junk + whole[2:]


def _file(part: str, data: bytes | dict[str, str] | None, verdict: Verdict, layouts: tuple[str, ...] = FILES) -> Fault:
    """A file of image b in place of what is there."""

    def apply(data_set: DataSet) -> None:
        data_set.files[getattr(data_set, part)[1]] = data

    return Fault(apply, layouts, verdict)


def _gone(part: str, verdict: Verdict, layouts: tuple[str, ...] = FILES) -> Fault:
    def apply(data_set: DataSet) -> None:
        data_set.files.pop(getattr(data_set, part)[1], None)

    return Fault(apply, layouts, verdict)


def _row(column: str, value: Any, verdict: Verdict, layouts: tuple[str, ...] = TABLES) -> Fault:
    def apply(data_set: DataSet) -> None:
        for row in data_set.rows[1:2]:
            row[column] = value

    return Fault(apply, layouts, verdict)


def _all_rows(column: str, values: list[Any], verdict: Verdict, layouts: tuple[str, ...] = TABLES) -> Fault:
    def apply(data_set: DataSet) -> None:
        for row, value in zip(data_set.rows, values, strict=False):
            row[column] = value

    return Fault(apply, layouts, verdict)


def _option(layout: str, verdict: Verdict, **options: Any) -> Fault:
    return Fault(lambda data_set: data_set.options.update(options), (layout,), verdict)


def _renamed(name: str | bytes, verdict: Verdict) -> Fault:
    """Image b, its mask and its saliency map under another name, in a layout of files alone."""

    def apply(data_set: DataSet) -> None:
        for paths in (data_set.images, data_set.masks, data_set.saliency):
            data = data_set.files.pop(paths[1], None)
            if data is not None:
                head, _, suffix = paths[1].rpartition("/b.")
                end = name if isinstance(name, bytes) else name.encode()
                data_set.files[os.fsencode(head) + b"/" + end + b"." + suffix.encode()] = data

    return Fault(apply, ("folder",), verdict)


def _coco(part: str, verdict: Verdict, **values: Any) -> Fault:
    def apply(data_set: DataSet) -> None:
        for entry in data_set.rows[part][1:2]:
            entry.update(values)

    return Fault(apply, ("coco",), verdict)


def _written(layout: str, encode_rows: Callable[[Any], bytes], verdict: Verdict) -> Fault:
    """A list file that is written otherwise."""
    return Fault(lambda data_set: setattr(data_set, "encode_rows", encode_rows), (layout,), verdict)


def _voc(path: str, data: bytes, verdict: Verdict) -> Fault:
    return Fault(lambda data_set: data_set.files.__setitem__(f"VOC2012/{path}", data), ("voc",), verdict)


def _single_class(data_set: DataSet) -> None:
    for paths in (data_set.images, data_set.masks, data_set.saliency):
        for path in paths[1::2]:
            data_set.files.pop(path, None)


def _label_alike(data_set: DataSet) -> None:
    for row in data_set.rows:
        row |= {"labels": "dog", "boxes": None, "mask": None}


def _number_classes(data_set: DataSet) -> None:
    for number, row in enumerate(data_set.rows):
        row |= {"labels": number % 2, "boxes": None}


def _misspell(data_set: DataSet) -> None:
    data_set.rows = [
        {"lables" if key == "labels" else key: value for key, value in row.items()} for row in data_set.rows
    ]


PHOTO = encode(photograph(1), "JPEG")
ON_ITS_SIDE = encode(photograph(1), "JPEG", exif=_exif(6))
TURNED_UPRIGHT = encode(photograph(1, SIZE[::-1]), "JPEG", exif=_exif(8))
MASKED = ("folder", "csv", "parquet", "voc")
LIST = "ImageSets/Segmentation/train.txt"
BOXES = '[{{"label": "dog", "box": {}}}]'
FAULTS: dict[str, Fault] = {
    "image truncated": _file("images", PHOTO[: len(PHOTO) // 2], "refused"),
    "image empty": _file("images", b"", "refused"),
    "image is text": _file("images", b"no image\n", "refused"),
    "image missing": _gone("images", "refused", ("csv", "parquet", "voc", "coco")),
    "image is a pipe": _file("images", None, "refused"),
    "image is a folder": _file("images", {}, "refused", ("csv", "parquet", "voc", "coco")),
    "image of 16 bits": _file("images", encode(Image.fromarray(np.full(SIZE, 40000, np.uint16)), "PNG"), "read"),
    "image of floats": _file("images", encode(Image.fromarray(np.ones(SIZE, np.float32)), "TIFF"), "refused"),
    "image of integers": _file("images", encode(Image.fromarray(np.ones(SIZE, np.int32)), "TIFF"), "refused"),
    "image in LAB": _file("images", encode(Image.new("LAB", SIZE[::-1]), "TIFF"), "refused"),
    "image in CMYK": _file("images", encode(photograph(1).convert("CMYK"), "JPEG"), "read"),
    "image with alpha": _file("images", encode(photograph(1).convert("LA"), "PNG"), "read"),
    "image of one bit": _file("images", encode(photograph(1).convert("1"), "PNG"), "read"),
    "image of two frames": _file(
        "images", encode(photograph(1), "TIFF", save_all=True, append_images=[photograph(2)]), "refused"
    ),
    "image twice": _file("images", encode(photograph(0), "JPEG"), "read"),
    "image of another size": _file("images", encode(photograph(1, (48, 64)), "JPEG"), "refused"),
    "image on its side": _file("images", ON_ITS_SIDE, "read", ("folder", "voc", "coco")),
    "image on its side, with boxes of no size": _file("images", ON_ITS_SIDE, "refused", TABLES),
    "image on its side, annotated upright": _file("images", TURNED_UPRIGHT, "read", ("folder", "voc", "coco")),
    "image upside down": _file("images", encode(photograph(1), "JPEG", exif=_exif(3)), "refused"),
    "metadata of junk": _file("images", _with_junk(), "read"),
    "mask truncated": _file("masks", encode(grey(1), "PNG")[:60], "refused", MASKED),
    "mask missing": _gone("masks", "read", ("folder", "voc")),
    "mask of a table missing": _gone("masks", "refused", TABLES),
    "mask of another size": _file("masks", encode(grey(1, (20, 32)), "PNG"), "refused", MASKED),
    "mask with no class": _file("masks", encode(grey(99), "PNG"), "refused", MASKED),
    "mask in colours": _file("masks", encode(photograph(1), "PNG"), "refused", MASKED),
    "mask of 16 bits": _file("masks", encode(Image.fromarray(np.ones(SIZE, np.uint16)), "PNG"), "refused", MASKED),
    "mask is a JPEG": _file("masks", encode(grey(1), "JPEG"), "refused", MASKED),
    "mask empty of its class": _file("masks", encode(grey(0), "PNG"), "read", MASKED),
    "mask ignored": _file("masks", encode(grey(255), "PNG"), "read", MASKED),
    "saliency truncated": _file("saliency", encode(grey(9), "PNG")[:60], "refused", MASKED),
    "saliency missing": _gone("saliency", "refused", MASKED),
    "saliency of another size": _file("saliency", encode(grey(9, (20, 32)), "PNG"), "refused", MASKED),
    "saliency in colours": _file("saliency", encode(photograph(1), "PNG"), "refused", MASKED),
    "saliency of 16 bits": _file(
        "saliency", encode(Image.fromarray(np.full(SIZE, 900, np.uint16)), "PNG"), "read", MASKED
    ),
    "saliency of floats": _file(
        "saliency", encode(Image.fromarray(np.ones(SIZE, np.float32)), "TIFF"), "refused", MASKED
    ),
    # folders
    "root misspelt": _option("folder", "refused", root="/nowhere"),
    "split misspelt": _option("folder", "refused", split="trian"),
    "classes unknown": _option("folder", "refused", classes=("cat", "dogs")),
    "an image of the same name": Fault(
        lambda data_set: data_set.files.update({"train/dog/b.png": encode(photograph(7), "PNG")}),
        ("folder",),
        "refused",
    ),
    "an empty class": Fault(lambda data_set: data_set.files.update({"train/emu": {}}), ("folder",), "read"),
    "a single class": Fault(_single_class, ("folder",), "refused"),
    "folder of masks misspelt": _option("folder", "refused", masks="/nowhere"),
    "folder of saliency misspelt": _option("folder", "refused", saliency="/nowhere"),
    "name of other letters": _renamed("собака 犬", "read"),
    "name in NFD": _renamed(unicodedata.normalize("NFD", "é"), "read"),
    "name that is no UTF-8": _renamed(b"\xff\xfe", "refused"),
    "name that is long": _renamed("x" * 249, "refused"),
    # tables
    "path of Windows": _row("image", "i\\b.jpg", "read"),
    "absolute path of Windows": _row("image", "C:\\i\\b.jpg", "refused"),
    "path with a NUL": _row("image", "/i/b\0.jpg", "refused"),
    "absolute path with a NUL in its folder": _row("image", "/i\0/b.jpg", "refused"),
    "path of a whole file": _row("image", "x" * 100_000, "refused"),
    "path out of the root": _row("image", "../b.jpg", "refused"),
    "path with spaces around": _row("image", " i/b.jpg ", "refused"),
    "image not given": _row("image", "", "refused"),
    "mask not given": _row("mask", None, "read"),
    "label not given": _row("labels", "", "read"),
    "label unknown": _row("boxes", BOXES.format([1, 1, 2, 2]).replace("dog", "emu"), "refused"),
    "boxes with NaN": _row("boxes", BOXES.format("[NaN, 1, 2, 3]"), "refused"),
    "boxes swapped": _row("boxes", BOXES.format([5, 5, 4, 8]), "refused"),
    "boxes beside the image": _row("boxes", BOXES.format([90, 5, 94, 8]), "refused"),
    "boxes over the edge": _row("boxes", BOXES.format([20, 5, 94, 8]), "read"),
    "boxes of infinity": _row("boxes", BOXES.format("[1, 1, Infinity, 3]"), "refused"),
    "boxes of digits": _row("boxes", BOXES.format('"1234"'), "refused"),
    "boxes within boxes": _row("boxes", "[" * 100_000, "refused"),
    "boxes of text": _row("boxes", "box", "refused"),
    "boxes empty": _row("boxes", BOXES.format([5, 5, 5, 5]), "read"),
    "id twice": _row("id", "image a", "refused"),
    "id that is long": _row("id", "x" * 300, "refused"),
    "id of other letters": _row("id", "собака", "read"),
    "row twice": Fault(lambda data_set: data_set.rows.extend(data_set.rows[1:2]), TABLES, "refused"),
    "column misspelt": Fault(_misspell, TABLES, "refused"),
    "no rows": Fault(lambda data_set: data_set.rows.clear(), ("parquet",), "refused"),
    "split without rows": Fault(lambda data_set: data_set.options.update(split="test"), TABLES, "refused"),
    "a single label": Fault(_label_alike, TABLES, "warned"),
    "classes are numbers": Fault(_number_classes, ("parquet",), "read"),
    "ids are numbers": _all_rows("id", [0, 1, 2, 3], "read", ("parquet",)),
    "with a mark and CRLF": _written(
        "csv", lambda rows: codecs.BOM_UTF8 + csv_of(rows).replace(b"\n", b"\r\n"), "read"
    ),
    "in UTF-16": _written("csv", lambda rows: csv_of(rows).decode().encode("utf-16"), "refused"),
    "broken off in a cell": _written("csv", lambda rows: csv_of(rows)[:-5], "refused"),
    "header alone": _written("csv", lambda rows: csv_of(rows).splitlines()[0], "refused"),
    # VOC
    "list with a mark and CRLF": _voc(LIST, codecs.BOM_UTF8 + b"a\r\nb\r\nc\r\nd\r\n", "read"),
    "list with an image twice": _voc(LIST, b"a\nb\nb\nc", "refused"),
    "list with a name of two words": _voc(LIST, b"a\nb b\nc", "refused"),
    "list that is no text": _voc(LIST, b"\xff\xfe\xff", "refused"),
    "list that is empty": _voc(LIST, b"\n", "refused"),
    "annotation broken off": _voc("Annotations/b.xml", annotation("dog")[:-9], "refused"),
    "annotation of an unknown class": _voc("Annotations/b.xml", annotation("emu"), "refused"),
    "annotation with NaN": _voc("Annotations/b.xml", annotation("dog", ("nan", 1, 2, 3)), "refused"),
    "annotation of infinite size": _voc("Annotations/b.xml", annotation("dog", size=("inf", 5)), "refused"),
    "annotation with swapped edges": _voc("Annotations/b.xml", annotation("dog", (9, 1, 2, 3)), "refused"),
    "annotation of another size": _voc("Annotations/b.xml", annotation("dog", size=(240, 320)), "refused"),
    "annotation beside the image": _voc("Annotations/b.xml", annotation("dog", (90, 1, 92, 3)), "refused"),
    "annotation of no size": _voc("Annotations/b.xml", annotation("dog", size=(0, 0)), "read"),
    "masks misspelt": _option("voc", "refused", masks="SegmentationClas"),
    "saliency misspelt": _option("voc", "refused", saliency="Salienci"),
    # COCO
    "size of another": _coco("images", "refused", width=640, height=480),
    "size turned": _coco("images", "refused", width=SIZE[0], height=SIZE[1]),
    "size of text": _coco("images", "refused", width="32"),
    "size not given": _coco("images", "read", width=None, height=None),
    "polygon with NaN": _coco("annotations", "refused", segmentation=[[1, 1, math.nan, 5, 5, 5]]),
    "polygon far away": _coco("annotations", "refused", segmentation=[[1, 1, 1e7, 5, 5, 5]]),
    "polygon very far away": _coco("annotations", "refused", segmentation=[[1, 1, 1e10, 5, 5, 5]]),
    "polygon of two points": _coco("annotations", "read", segmentation=[[1, 1, 5, 5]]),
    "polygon of an odd number": _coco("annotations", "refused", segmentation=[[1, 1, 5, 5, 9]]),
    "outline of text": _coco("annotations", "refused", segmentation="here"),
    "run lengths too short": _coco("annotations", "refused", segmentation={"size": [24, 32], "counts": [5, 5]}),
    "run lengths too long": _coco("annotations", "refused", segmentation={"size": [24, 32], "counts": [5, 10**9]}),
    "run lengths of junk": _coco("annotations", "refused", segmentation={"size": [24, 32], "counts": "zzz"}),
    "run lengths of another size": _coco("annotations", "refused", segmentation={"size": [2, 3], "counts": [1, 5]}),
    "box with NaN": _coco("annotations", "refused", bbox=[math.nan, 1, 2, 3]),
    "box of negative size": _coco("annotations", "refused", bbox=[5, 5, -2, 3]),
    "box of infinite size": _coco("annotations", "refused", bbox=[5, 5, math.inf, 3]),
    "crowd as text": _coco("annotations", "refused", iscrowd="0"),
    "crowd that is no number": _coco("annotations", "refused", iscrowd=math.nan),
    "crowd as a truth value": _coco("annotations", "read", iscrowd=False),
    "box beside the image": _coco("annotations", "refused", bbox=[500, 5, 2, 3]),
    "box of no size": _coco("annotations", "read", bbox=[5, 5, 0, 3]),
    "category unknown": _coco("annotations", "refused", category_id=99),
    "category is a list": _coco("annotations", "refused", category_id=[7]),
    "image unknown": _coco("annotations", "refused", image_id=99),
    "image id twice": _coco("images", "refused", id=0),
    "category id twice": _coco("categories", "refused", id=7),
    "category ids of two kinds": _coco("categories", "refused", id="dog"),
    "file out of the folder": _coco("images", "refused", file_name="../b.jpg"),
    "annotations not JSON": _written("coco", lambda rows: b"{", "refused"),
    "no images": Fault(lambda data_set: data_set.rows.update(images=[], annotations=[]), ("coco",), "refused"),
    "a crowd": _coco(
        "annotations", "read", iscrowd=1, segmentation={"size": list(SIZE), "counts": [100, SIZE[0] * SIZE[1] - 100]}
    ),
}  # fmt: skip
SINGLE = [(layout, name) for name, fault in FAULTS.items() for layout in fault.layouts]
