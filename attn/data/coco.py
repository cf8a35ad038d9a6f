"""COCO's instance annotations (Lin et al. 2014): one JSON file with labels, boxes and outlines."""

from __future__ import annotations

__all__ = ["CocoConfig", "CocoSource"]

import json
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from attn.config.base import Location
from attn.data.files import FileFault, join, list_files, read_bytes, within
from attn.data.sample import Box, Record
from attn.data.source import FileSource, OnError, SourceConfig, raise_all, refuse_missing
from attn.errors import DataError

IGNORE = 255
PLACEHOLDER = "{split}"
TRAIN = ("train2017", "train")
Entry = dict[str, Any]


class CocoConfig(SourceConfig):
    """COCO's layout. A region that is marked as a crowd is no label, and is ignored in masks.

    Attributes:
        root: Holds `annotations/instances_<split>.json` and the image folder `<split>`.
        annotations: The JSON file, where it lies elsewhere; `{split}` in it stands for the split. A file without it is
            the split `train` or `train2017`.
        images: The image folder, where it lies elsewhere; `{split}` likewise.
    """

    source: Literal["coco"] = "coco"
    root: Location
    split: str = "train2017"
    annotations: Location | None = None
    images: Location | None = None

    def open(self) -> CocoSource:
        """Read the annotations; no image is read.

        Raises:
            DataError: The file is missing, broken or contradicts itself, or is not that of the split.
        """
        if self.annotations and PLACEHOLDER not in self.annotations and self.split not in TRAIN:
            raise DataError(
                f"data.annotations={self.annotations} is one file for every split, so that {self.split!r} would be the "
                f"training data again: write {PLACEHOLDER} in the path where splits differ, or train without "
                "validation (validation.split=null); to read this very file, leave data.split out"
            )
        location = (self.annotations or self._annotations()).replace(PLACEHOLDER, self.split)
        content = _read(location)
        categories = sorted(content["categories"], key=lambda entry: entry["id"])
        numbers = {entry["id"]: number for number, entry in enumerate(categories)}
        folder = (self.images or join(self.root, self.split)).replace(PLACEHOLDER, self.split)
        found = _by_image(content, numbers, location)
        faults: list[str] = []
        records, outlines = [], {}
        for entry in sorted(content["images"], key=lambda entry: str(entry["id"])):
            try:
                image = within(folder, str(entry["file_name"]), f"{location}, image {entry['id']}")
            except DataError as error:
                faults.append(str(error))
                continue
            own = found[entry["id"]]
            name, single = str(entry["id"]), [item for item in own if not item.get("iscrowd")]
            outlines[name] = [(numbers[item["category_id"]], item) for item in own if item.get("segmentation")]
            records.append(
                Record(
                    image_id=name,
                    labels=tuple(sorted({numbers[item["category_id"]] for item in single})),
                    image=image,
                    mask=f"{location}#{name}" if outlines[name] or not own else None,
                    boxes=tuple((numbers[item["category_id"]], _box(item)) for item in single if "bbox" in item),
                )
            )
        raise_all(faults)
        refuse_missing(records, self.on_error, location)
        return CocoSource([str(entry["name"]) for entry in categories], records, self.on_error, outlines)

    def _annotations(self) -> str:
        folder = join(self.root, "annotations")
        name = f"instances_{self.split}.json"
        there = list_files(folder)
        if name not in there:
            splits = [item[10:-5] for item in there if item.startswith("instances_") and item.endswith(".json")]
            have = f"{folder} has {', '.join(splits)}" if splits else f"there are no instances_*.json in {folder}"
            raise DataError(f"split {self.split!r} is not there; {have}. data.annotations names a file elsewhere")
        return join(folder, name)


class CocoSource(FileSource):
    """Images with masks that are drawn from their outlines, smaller objects over larger ones."""

    def __init__(
        self,
        classes: Sequence[str],
        records: Sequence[Record],
        on_error: OnError,
        outlines: dict[str, list[tuple[int, Entry]]],
    ) -> None:
        super().__init__(classes, records, on_error)
        self._outlines = outlines

    def read_mask(self, location: str, record: Record, size: tuple[int, int], orientation: int) -> np.ndarray:
        mask = np.zeros(size, np.uint8)
        drawn = [(label, item, _fill(item, size, location)) for label, item in self._outlines[record.image_id]]
        for label, item, inside in sorted(drawn, key=lambda entry: (not entry[1].get("iscrowd"), -int(entry[2].sum()))):
            mask[inside] = IGNORE if item.get("iscrowd") else label + 1
        return mask


def _read(location: str) -> dict[str, list[Entry]]:
    try:
        content = json.loads(read_bytes(location))
    except ValueError as error:
        raise FileFault(location, f"is not JSON ({error})") from None
    needed = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
    for part, keys in needed.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise FileFault(location, f"has no list {part!r}; expected COCO's instance annotations")
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or any(key not in entry for key in keys):
                raise FileFault(location, f"{part}[{number}] lacks {' or '.join(keys)}")
    return content


def _by_image(content: dict[str, list[Entry]], numbers: dict[Any, int], location: str) -> dict[Any, list[Entry]]:
    """The annotations of each image."""
    found: dict[Any, list[Entry]] = {entry["id"]: [] for entry in content["images"]}
    faults: list[str] = []
    for number, item in enumerate(content["annotations"]):
        if item["image_id"] not in found:
            faults.append(f"annotations[{number}] is of image {item['image_id']}, which is not listed")
        elif item["category_id"] not in numbers:
            faults.append(f"annotations[{number}] has category {item['category_id']}, which is not listed")
        elif "bbox" in item and not _is_box(item["bbox"]):
            faults.append(f"annotations[{number}] has the bbox {item['bbox']!r}; expected [left, top, width, height]")
        else:
            found[item["image_id"]].append(item)
    raise_all(faults, location)
    return found


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(edge, (int, float)) for edge in box)


def _box(item: Entry) -> Box:
    left, top, width, height = (float(edge) for edge in item["bbox"])
    return left, top, left + width, top + height


def _fill(item: Entry, size: tuple[int, int], location: str) -> np.ndarray:
    """bool (H0, W0): inside the polygons, or the run-length code, of one annotation."""
    from pycocotools import mask as rle

    outline = item["segmentation"]
    try:
        if isinstance(outline, dict) and list(outline["size"]) != list(size):
            (height, width), (image_h, image_w) = outline["size"], size
            raise FileFault(
                location, f"an outline is of a {width}x{height} image, but the image is {image_w}x{image_h}"
            )
        coded = isinstance(outline, dict) and isinstance(outline["counts"], (str, bytes))
        codes = outline if coded else rle.frPyObjects(cast(Any, outline), *size)
        return rle.decode(rle.merge(codes) if isinstance(codes, list) else cast(Any, codes)).astype(bool)
    except FileFault:
        raise
    except Exception as error:  # pycocotools raises the bare class
        raise FileFault(location, f"has a broken outline ({type(error).__name__}: {error})") from None
