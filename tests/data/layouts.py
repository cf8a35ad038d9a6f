"""Small data sets in every layout, to break: 24x32 photographs of cats and dogs with masks, boxes and saliency."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from attn.data.source import SourceConfig
from attn.data.sources import CocoConfig, FolderConfig, ManifestConfig, VocConfig

SIZE = (24, 32)
NAMES = ("a", "b", "c", "d")
CLASSES = ("cat", "dog")
BOX = [4.0, 4.0, 20.0, 16.0]


@dataclass
class DataSet:
    """Files that are not written yet.

    Attributes:
        kind: The layout.
        files: By path; None is a pipe, an empty dictionary a folder.
        images, masks, saliency: Their paths, one for each of `NAMES`.
        rows: What a table or COCO's file holds.
        list_file, encode_rows: The name of that file, and how it is written.
        options: Of the config.
    """

    kind: str
    files: dict[str | bytes, bytes | dict[str, str] | None]
    images: list[str]
    masks: list[str] = field(default_factory=list)
    saliency: list[str] = field(default_factory=list)
    rows: Any = None
    list_file: str = ""
    encode_rows: Callable[[Any], bytes] = bytes
    options: dict[str, Any] = field(default_factory=dict)


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def photograph(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR)


def grey(value: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A rectangle of a value at `BOX`."""
    pixels = np.zeros(size, np.uint8)
    pixels[4:16, 4:20] = value
    return Image.fromarray(pixels)


def pictures(image: str, mask: str = "", saliency: str = "") -> DataSet:
    """Four photographs, cat and dog in turn, at places such as `train/{class}/{name}.jpg`."""
    files: dict[str | bytes, Any] = {}
    result = DataSet("", files, [], [], [])
    for number, name in enumerate(NAMES):
        label = number % 2
        for places, location, data in (
            (result.images, image, encode(photograph(number), "JPEG")),
            (result.masks, mask, encode(grey(label + 1), "PNG")),
            (result.saliency, saliency, encode(grey(200), "PNG")),
        ):
            if location:
                path = location.format(name=name, **{"class": CLASSES[label]})
                places.append(path)
                files[path] = data
    return result


def folder() -> DataSet:
    result = pictures("train/{class}/{name}.jpg", "masks/{class}/{name}.png", "saliency/{class}/{name}.png")
    result.kind = "folder"
    return result


def table(kind: str) -> DataSet:
    result = pictures("i/{name}.jpg", "m/{name}.png", "s/{name}.png")
    result.kind, result.list_file = kind, f"list.{kind}"
    result.encode_rows = csv_of if kind == "csv" else parquet_of
    result.rows = [
        {
            "image": result.images[number],
            "labels": CLASSES[number % 2],
            "mask": result.masks[number],
            "saliency": result.saliency[number],
            "boxes": json.dumps([{"label": CLASSES[number % 2], "box": BOX}]),
            "id": f"image {name}",
            "split": "train",
        }
        for number, name in enumerate(NAMES)
    ]
    return result


def voc() -> DataSet:
    top = "VOC2012"
    result = pictures(f"{top}/JPEGImages/{{name}}.jpg", "", f"{top}/Saliency/{{name}}.png")
    result.kind = "voc"
    for number, name in enumerate(NAMES):
        label = ("cat", "dog")[number % 2]
        path = f"{top}/SegmentationClass/{name}.png"
        result.masks.append(path)
        result.files[path] = encode(grey(8 if label == "cat" else 12), "PNG")
        result.files[f"{top}/Annotations/{name}.xml"] = annotation(label)
    result.files[f"{top}/ImageSets/Segmentation/train.txt"] = "\n".join(NAMES).encode()
    return result


def annotation(label: str, box: tuple[Any, ...] = (5, 5, 20, 16), size: tuple[Any, Any] = SIZE) -> bytes:
    edges = "".join(
        f"<{name}>{edge}</{name}>" for name, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>"
        f"<object><name>{label}</name><bndbox>{edges}</bndbox></object></annotation>"
    ).encode()


def coco() -> DataSet:
    result = pictures("train/{name}.jpg")
    result.kind, result.list_file = "coco", "annotations/instances_train.json"
    result.encode_rows = lambda rows: json.dumps(rows).encode()
    left, top, right, bottom = BOX
    result.rows = {
        "images": [
            {"id": number, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for number, name in enumerate(NAMES)
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {
                "id": 10 + number, "image_id": number, "category_id": (7, 3)[number % 2],
                "bbox": [left, top, right - left, bottom - top],
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
            }
            for number in range(len(NAMES))
        ],
    }  # fmt: skip
    return result


BUILDERS: dict[str, Callable[[], DataSet]] = {
    "folder": folder,
    "csv": lambda: table("csv"),
    "parquet": lambda: table("parquet"),
    "voc": voc,
    "coco": coco,
}


def write(data_set: DataSet, root: Path) -> SourceConfig:
    """Put a data set in place of whatever is at a folder, and give the config that reads it."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    files = dict(data_set.files)
    if data_set.list_file:
        files[data_set.list_file] = data_set.encode_rows(data_set.rows)
    for name, data in files.items():
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(path if isinstance(data, dict) else os.path.dirname(path), exist_ok=True)
        if data is None:
            os.mkfifo(path)
        elif isinstance(data, bytes):
            with open(path, "wb") as stream:
                stream.write(data)
    if data_set.kind == "folder":
        options = {"root": str(root), "masks": str(root / "masks"), "saliency": str(root / "saliency")}
        return FolderConfig(**options | data_set.options)
    if data_set.kind == "voc":
        return VocConfig(**{"root": str(root), "saliency": "Saliency"} | data_set.options)
    if data_set.kind == "coco":
        return CocoConfig(**{"root": str(root), "split": "train"} | data_set.options)
    return ManifestConfig(**{"manifest": str(root / data_set.list_file)} | data_set.options)


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    quoted = [[str("" if cell is None else cell).replace('"', '""') for cell in row.values()] for row in rows]
    lines = [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row) for row in quoted)]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()
