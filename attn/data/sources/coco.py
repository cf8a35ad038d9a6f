"""COCO instance annotations (Lin et al. 2014): one JSON file with labels, boxes and outlines."""

from __future__ import annotations

__all__ = ["CocoConfig", "CocoSource"]

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from attn.config.base import BelowRoot, Location
from attn.data.chosen_classes import check_negatives, choose_classes
from attn.data.orientation import apply_orientation, is_in_stored_frame, stored_size
from attn.data.outlines import Outline, decode_outline
from attn.data.sample import Box, Record, make_box
from attn.data.source import (
    FileSource,
    OnError,
    Source,
    SourceConfig,
    raise_all,
    require_folder,
    require_images,
    require_unique,
)
from attn.errors import DataError
from attn.files.locations import (
    FileFault,
    below,
    join,
    list_files,
    missing_folder_note,
    missing_location,
    read_bytes,
    within,
)
from attn.files.transfer import exists
from attn.parsing import load_json

IGNORE = 255
MAX_SIDE = 1 << 20
MAX_OUTLINES = 20_000
MAX_DRAWN_PIXELS = 20_000_000_000
"""Maximum number of objects times pixels of an image: a thousand objects in twenty million pixels."""
PLACEHOLDER = "{split}"
TRAIN = ("train2017", "train")
Entry = dict[str, Any]


class CocoConfig(SourceConfig):
    """COCO's layout. Regions marked as crowds give no labels and are ignored in masks.

    Attributes:
        root: Folder with `annotations/instances_<split>.json` and the image folder `<split>`.
        annotations: The JSON file, if it is elsewhere; `{split}` in it is replaced by the split. A path without
            `{split}` is used for the split `train` or `train2017` only.
        images: The image folder, if it is elsewhere; `{split}` in it is replaced by the split.
        classes: Classes to use, in this order; None: all. An image that shows only others is left out; in masks
            others are background.
        negatives: With `classes`: keep images that show only other classes, without a label.
    """

    source: Literal["coco"] = "coco"
    root: Location
    split: str = "train2017"
    annotations: BelowRoot | None = None
    images: BelowRoot | None = None
    classes: tuple[str, ...] | None = None
    negatives: bool = False

    _check_negatives = model_validator(mode="after")(check_negatives)

    @classmethod
    def default_validation_split(cls, split: str) -> str:
        """`val2017` for `train2017`, `val` for `train`."""
        return f"val{split.removeprefix('train')}" if split.startswith("train") else "val"

    def open(self) -> Source:
        """Read the annotations; no image is read.

        Raises:
            DataError: The file is missing, broken or inconsistent, or belongs to another split.
        """
        whole = self._open(("images", "annotations", "categories"))
        return choose_classes(whole, self.classes, negatives=self.negatives)

    def open_unlabelled(self) -> Source:
        """Like `open`, but the file may lack annotations, as COCO's `image_info_test2017.json` does."""
        return choose_classes(self._open(("images", "categories")), self.classes, negatives=self.negatives)

    def _open(self, needed: Collection[str]) -> CocoSource:
        if self.annotations and PLACEHOLDER not in self.annotations and self.split not in TRAIN:
            raise DataError(
                f"data.annotations={self.annotations} is the same file for every split, so split {self.split!r} would "
                f"be the training data again: use {PLACEHOLDER} in the path, or train without validation "
                "(validation.split=null). To read this file, do not set data.split"
            )
        location = self._annotations()
        content = _read(location, needed)
        categories = sorted(
            content["categories"].values(), key=lambda entry: (isinstance(entry["id"], str), entry["id"])
        )
        numbers = {entry["id"]: number for number, entry in enumerate(categories)}
        ids = [str(entry["id"]) for entry in categories]
        require_unique(ids, [str(entry["name"]) for entry in categories], f"{location}: category id")
        folder = below(self.root, (self.images or self.split).replace(PLACEHOLDER, self.split))
        if self.images is not None:
            require_folder(folder, "data.images", self.images)
        repeated = _repeated(content)
        result = _by_image(content, numbers, repeated, location)
        faults: list[str] = []
        records, outlines = [], {}
        has_outlines = any(item.get("segmentation") for items in result.values() for item in items)
        for entry in sorted(content["images"].values(), key=lambda entry: str(entry["id"])):
            try:
                image = within(folder, str(entry["file_name"]), f"{location}, image {entry['id']}")
            except DataError as error:
                faults.append(str(error))
                continue
            own = [] if entry["id"] in repeated else result[entry["id"]]  # of which of the images is not known
            name, single = str(entry["id"]), [item for item in own if not item.get("iscrowd")]
            outlines[name] = [(numbers[item["category_id"]], item) for item in own if item.get("segmentation")]
            outlined = has_outlines and len(outlines[name]) == len(own)  # else the background is unknown
            records.append(
                Record(
                    image_id=name,
                    labels=tuple(sorted({numbers[item["category_id"]] for item in single})),
                    image=image,
                    mask=f"{location}#{name}" if outlined else None,
                    boxes=tuple(
                        (numbers[item["category_id"]], _box(item["bbox"])) for item in single if "bbox" in item
                    ),
                    annotated_size=(int(entry["height"]), int(entry["width"])) if entry.get("width") else None,
                )
            )
        raise_all(faults)
        require_images(records, self.on_error, location)
        return CocoSource(
            [str(entry["name"]) for entry in categories], records, self.on_error, outlines, self.max_pixels
        )

    def _annotations(self) -> str:
        """The split's annotation file."""
        if self.annotations is not None:
            location = below(self.root, self.annotations.replace(PLACEHOLDER, self.split))
            if not exists(location):
                raise missing_location("data.annotations", self.annotations, location, "no such file")
            return location
        folder = join(self.root, "annotations")
        name = f"instances_{self.split}.json"
        there = list_files(folder)
        if name not in there:
            splits = [item[10:-5] for item in there if item.startswith("instances_") and item.endswith(".json")]
            none = f"there are no instances_*.json in {folder}{missing_folder_note(folder)}"
            have = f"{folder} has {', '.join(splits)}: set data.split" if splits else f"{none}: set data.root"
            raise DataError(f"there is no split {self.split!r}; {have}, or set data.annotations to another file")
        return join(folder, name)


class CocoSource(FileSource):
    """Images with masks that are drawn from outlines, smaller objects over larger ones."""

    def __init__(
        self,
        classes: Sequence[str],
        records: Sequence[Record],
        on_error: OnError,
        outlines: dict[str, list[tuple[int, Entry]]],
        max_pixels: int,
    ) -> None:
        super().__init__(classes, records, on_error, max_pixels=max_pixels)
        self._outlines = outlines

    def read_mask(self, location: str, record: Record, size: tuple[int, int], orientation: int) -> np.ndarray:
        """The mask that an image's outlines give; an outline is a list of polygons or a run-length code."""
        outlines = self._outlines[record.image_id]
        if not outlines:
            return np.zeros(size, np.uint8)
        image = record.image or record.image_id
        as_stored = is_in_stored_frame(image, f"the annotation {location}", record.annotated_size, size, orientation)
        drawn_size = stored_size(size, orientation) if as_stored else size
        if len(outlines) > MAX_OUTLINES:
            raise FileFault(location, f"has {len(outlines)} outlines; an image may have at most {MAX_OUTLINES}")
        if (pixels := len(outlines) * size[0] * size[1]) > MAX_DRAWN_PIXELS:
            problem = f"{len(outlines)} outlines are too many for an image of {size[1]}x{size[0]} pixels"
            raise FileFault(location, f"{problem}: at most {MAX_DRAWN_PIXELS * len(outlines) // pixels} are allowed")
        mask = np.zeros(drawn_size, np.uint8)
        drawn = [(label, item, _decoded(item, drawn_size, location)) for label, item in outlines]
        for label, item, outline in sorted(drawn, key=lambda entry: (not entry[1].get("iscrowd"), -entry[2].area)):
            mask[outline.pixels()] = IGNORE if item.get("iscrowd") else label + 1
        return np.ascontiguousarray(apply_orientation(mask, orientation)) if as_stored else mask


def _read(location: str, needed: Collection[str]) -> dict[str, dict[int, Entry]]:
    """The lists of a file as entries without a fault of their own, by position."""
    try:
        content = load_json(read_bytes(location))
    except ValueError as error:
        raise FileFault(location, f"is not JSON ({error})") from None
    known = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
    sound, faults = dict[str, dict[int, Entry]](), list[str]()
    for part, keys in known.items():
        if part not in needed and isinstance(content, dict) and part not in content:
            continue
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise FileFault(location, f"has no list {part!r}; expected COCO instance annotations")
        sound[part] = {}
        for number, entry in enumerate(entries):
            if (fault := _entry_fault(entry, keys)) is None:
                sound[part][number] = entry
            else:
                faults.append(f"{part}[{number}]{fault}")
    raise_all(faults, location)
    return sound


def _entry_fault(entry: Any, keys: Sequence[str]) -> str | None:
    """What is wrong with an entry, as the end of a sentence about it."""
    if not isinstance(entry, dict) or any(key not in entry for key in keys):
        return f" lacks {' or '.join(keys)}"
    for key in keys:
        if type(entry[key]) not in (int, str):
            return f".{key} is neither a number nor text"
    size = [entry.get(key) for key in ("width", "height")]
    if "file_name" in keys and size != [None, None] and not all(map(_is_side, size)):
        return " has a width or height that is not a number of pixels; expected both or neither"
    return None


def _is_side(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < MAX_SIDE and value == int(value)


def _repeated(content: dict[str, dict[int, Entry]]) -> dict[Any, list[int]]:
    """The ids that several images have, with the images' positions."""
    places: dict[Any, list[int]] = {}
    for number, entry in content["images"].items():
        places.setdefault(entry["id"], []).append(number)
    return {name: numbers for name, numbers in places.items() if len(numbers) > 1}


def _by_image(
    content: dict[str, dict[int, Entry]], numbers: dict[Any, int], repeated: dict[Any, list[int]], location: str
) -> dict[Any, list[Entry]]:
    """The annotations of each image, by image id."""
    pairs = [
        f"{' and '.join(f'images[{at}]' for at in places)} have the id {name}" for name, places in repeated.items()
    ]
    lacking = f"it may be one of these: {pairs[0]}" if pairs else "list the image, or remove the annotation"
    results: dict[Any, list[Entry]] = {entry["id"]: [] for entry in content["images"].values()}
    faults: list[str] = []
    for number, item in content.get("annotations", {}).items():
        if item["image_id"] not in results:
            faults.append(f"annotations[{number}] is for image {item['image_id']}, which is not listed; {lacking}")
        elif item["category_id"] not in numbers:
            faults.append(f"annotations[{number}] has category {item['category_id']}, which is not listed")
        elif item.get("iscrowd") not in (None, 0, 1):
            faults.append(f"annotations[{number}] has an iscrowd that is not 0 or 1")
        else:
            try:
                _box(item.get("bbox", [0, 0, 0, 0]))
                results[item["image_id"]].append(item)
            except (ValueError, OverflowError):
                faults.append(
                    f"annotations[{number}] has an invalid bbox; expected [left, top, width, height], finite numbers "
                    "with width and height at least 0"
                )
    raise_all(faults, location)
    return results


def _box(bbox: Any) -> Box:
    if not isinstance(bbox, list) or any(type(edge) not in (int, float) for edge in bbox):
        raise ValueError("not a list of numbers")
    left, top, width, height = map(float, bbox)
    return make_box(left, top, left + width, top + height)


def _decoded(item: Entry, size: tuple[int, int], location: str) -> Outline:
    """Decode the outline of one annotation."""
    try:
        return decode_outline(item["segmentation"], size)
    except ValueError as error:
        name = f"annotation {item['id']} " if "id" in item else ""
        raise FileFault(location, f"{name}has a broken outline: {error}; correct or remove it") from None
