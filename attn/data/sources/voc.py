"""PASCAL VOC's folder layout: photographs, list files, palette masks, annotations in XML (Everingham et al. 2010).

Any data set in that layout will do, such as VOC 2007 and 2012 or SBD's `train_aug` list with its masks beside it.
"""

from __future__ import annotations

__all__ = ["VOC_CLASSES", "VocConfig"]

import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, TypeVar
from xml.etree import ElementTree

import numpy as np
from pydantic import field_validator

from attn.config.base import BelowRoot, Location
from attn.data.cells import shown
from attn.data.decode import read_mask
from attn.data.sample import Box, Record, make_box
from attn.data.source import (
    FileSource,
    SourceConfig,
    beside,
    masks_in,
    parallel,
    refuse_absent,
    refuse_missing,
    unique,
)
from attn.data.sources.label_file import read_label_file
from attn.errors import DataError
from attn.files.locations import (
    FileFault,
    below,
    join,
    list_files,
    list_folders,
    missing_folder,
    missing_folder_note,
    parse_error_text,
    read_bytes,
    stem_of,
    within,
)
from attn.files.transfer import exists

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""In the official order: mask value = position + 1."""

MASKS = "SegmentationClass"
BESIDE_NAME = re.compile(r"-?\d+|.*/.*")
"""What may follow a name in a list: numbers, as in a class's own list, or the mask's path, as in SBD's."""
TABLE = (
    "For other images or classes make a table: data.source=manifest data.manifest=TABLE.csv data.root=..., "
    "with the columns image,labels,mask and rows such as JPEGImages/a.png,cat|dog,SegmentationClass/a.png"
)
MAX_XML, MAX_SIDE = 16 << 20, 1 << 20
LONG_TAG = re.compile(rb"<[^<]{100000}")
"""A tag with the text after it. A value may hold `>`, and never `<`."""
Labels = tuple[int, ...]
T = TypeVar("T")
log = logging.getLogger(__name__)


class _Object(NamedTuple):
    """An object of an annotation.

    Attributes:
        image_size: (height, width) of the image as the annotation has it.
        difficult: It is marked as hard to recognise.
    """

    label: int
    box: Box
    image_size: tuple[int, int] | None
    difficult: bool


Objects = tuple[_Object, ...]


class VocConfig(SourceConfig):
    """VOC's layout. Labels come from `labels` where given, else from `Annotations`, else from the masks.

    Attributes:
        root: `.../VOCdevkit/VOC<year>`, or a folder up to two levels above it.
        year: Which of several `VOC<year>` folders.
        split: A list in `ImageSets/Segmentation` or `ImageSets/Main`, or a path to a list. Relative paths of this and
            the next fields start from the folder with `JPEGImages`.
        masks: Folder of index PNGs, or None to leave masks unread.
        saliency: Folder of grey PNGs; then every image must have one.
        labels: NPZ or JSON file with `ids`, `labels` (0/1, one row an id) and `classes`.
        difficult: Count objects that the annotations mark as difficult.
    """

    source: Literal["voc"] = "voc"
    root: Location
    year: int = 2012
    masks: BelowRoot | None = MASKS
    saliency: BelowRoot | None = None
    labels: BelowRoot | None = None
    difficult: bool = True

    @field_validator("split")
    @classmethod
    def _of_this_user(cls, split: str) -> str:
        return os.path.expanduser(split)

    def open(self) -> FileSource:
        """Find the lists and names of the split; no image is read.

        Raises:
            DataError: Folder, split or labels are missing or contradict each other.
        """
        return self._open(labelled=True)

    def open_unlabelled(self) -> FileSource:
        return self._open(labelled=False)

    def _open(self, *, labelled: bool) -> FileSource:
        root = _find_root(self.root, self.year)
        where, names = _read_split(root, self.split)
        masks = self._masks(root, names)
        saliency = None if self.saliency is None else below(root, self.saliency)
        if saliency is not None:
            refuse_absent(saliency, "data.saliency", str(self.saliency))
        objects, faults = self._objects(root, names)
        labels = self._labels(root, where, names, masks, objects, faults, labelled=labelled)
        records = [
            Record(
                image_id=name,
                labels=labels[number],
                image=join(root, "JPEGImages", f"{name}.jpg"),
                mask=masks[number],
                saliency=saliency and join(saliency, f"{name}.png"),
            )
            for number, name in enumerate(names)
        ]
        if objects is not None:
            records = [self._with_objects(*one) for one in zip(records, objects, strict=True)]
        try:
            refuse_missing(records, self.on_error, where)
        except DataError as error:
            others = any(not name.endswith(".jpg") for name in list_files(join(root, "JPEGImages")))
            raise DataError(f"{error}. {TABLE}" if others else str(error)) from None
        return FileSource(VOC_CLASSES, records, self.on_error, faults, max_pixels=self.max_pixels)

    def _masks(self, root: str, names: list[str]) -> list[str | None]:
        if self.masks is None or self.masks == MASKS:  # VOC's own folder, which VOC's parts without masks lack
            return beside(self.masks and join(root, self.masks), names)
        return masks_in(
            below(root, self.masks),
            names,
            lambda: [stem_of(file) for file in list_files(join(root, "JPEGImages"))],
            given=self.masks,
        )

    def _objects(self, root: str, names: list[str]) -> tuple[list[Objects] | None, dict[str, DataError]]:
        """What the annotations say, where every image has one; and what of them could not be read, by image."""
        annotations = beside(join(root, "Annotations"), names, ".xml")
        faults: dict[str, DataError] = {}
        return (self._read_all(_read_annotation, names, annotations, faults) if all(annotations) else None), faults

    def _counted(self, objects: Objects) -> Objects:
        return tuple(item for item in objects if self.difficult or not item.difficult)

    def _with_objects(self, record: Record, objects: Objects) -> Record:
        easy = {item.label for item in objects if not item.difficult}
        return replace(
            record,
            boxes=tuple((item.label, item.box) for item in self._counted(objects)),
            annotated_size=objects[0].image_size if objects else None,
            difficult=tuple(sorted({item.label for item in objects} - easy)),
        )

    def _labels(
        self,
        root: str,
        where: str,
        names: list[str],
        masks: list[str | None],
        objects: list[Objects] | None,
        faults: dict[str, DataError],
        *,
        labelled: bool,
    ) -> list[Labels]:
        if self.labels is not None:
            place = below(root, self.labels)
            if not exists(place):
                raise missing_folder("data.labels", self.labels, place, "no such file")
            return read_label_file(place, names, VOC_CLASSES, partial=not labelled)
        if objects is not None:
            return [tuple(sorted({item.label for item in self._counted(found)})) for found in objects]
        bare = [name for name, mask in zip(names, masks, strict=True) if mask is None]
        if bare and labelled:
            raise DataError(
                f"{where}: no labels for {len(bare)} of {len(names)} images, {bare[0]} among them. They can come from "
                f"{join(root, 'Annotations')}, from masks ({below(root, self.masks or MASKS)}; data.masks "
                "names the folder), or from an NPZ or JSON file that data.labels names"
            )
        masked = len(names) - len(bare)
        log.info("%s: no annotations; the labels of %d images are taken from their masks", where, masked)
        return self._read_all(partial(_mask_labels, most=self.max_pixels), names, masks, faults)

    def _read_all(
        self,
        read: Callable[[str], tuple[T, ...]],
        names: list[str],
        locations: list[str | None],
        faults: dict[str, DataError],
    ) -> list[tuple[T, ...]]:
        """Read a file of every image; where faults are passed over, those who have one are noted in `faults`."""

        def attempt(location: str | None) -> tuple[T, ...] | FileFault:
            try:
                return read(location or "")
            except FileFault as fault:
                if self.on_error == "raise":
                    raise
                return fault

        results = parallel(attempt, locations)
        faults |= {name: result for name, result in zip(names, results, strict=True) if isinstance(result, FileFault)}
        return [() if isinstance(result, FileFault) else result for result in results]


def _find_root(root: str, year: int) -> str:
    wanted = f"VOC{year}"
    for candidate in (root, join(root, wanted), join(root, "VOCdevkit", wanted)):
        if "JPEGImages" in list_folders(candidate):
            return candidate
    for folder in (root, join(root, "VOCdevkit")):
        years = [name for name in list_folders(folder) if name.startswith("VOC") and name != "VOCdevkit"]
        if years:
            raise DataError(f"{folder} has no {wanted}, but {', '.join(years)}; set data.year")
    raise DataError(
        f"{root}: no JPEGImages folder in it or in its VOCdevkit/{wanted}{missing_folder_note(root)}; set data.root"
    )


def _is_path(split: str) -> bool:
    return "/" in split or split.endswith(".txt")


def _read_split(root: str, split: str) -> tuple[str, list[str]]:
    """The list file of a split and the image names in it."""
    if _is_path(split):
        location = below(root, split)
        if not exists(location):
            raise missing_folder("data.split", split, location, "no such file")
    else:
        folders = [join(root, "ImageSets", kind) for kind in ("Segmentation", "Main")]
        found = {folder: [stem_of(name) for name in list_files(folder) if name.endswith(".txt")] for folder in folders}
        holders = [folder for folder, splits in found.items() if split in splits]
        if not holders:
            have = "; ".join(f"{folder}: {', '.join(splits)}" for folder, splits in found.items() if splits)
            raise DataError(f"split {split!r} is not in {join(root, 'ImageSets')}; {have or 'there are no list files'}")
        location = join(holders[0], f"{split}.txt")
    try:
        lines = read_bytes(location).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FileFault(location, "is not a text file of image names") from None
    names = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not all(map(BESIDE_NAME.fullmatch, words[1:])):
            raise DataError(f"{location}:{number}: has a space, where an image's name is expected. {TABLE}")
        if words and words[1:] != ["-1"]:  # in a class's own list, -1 is an image without it
            names[f"{location}:{number}"] = _image_name(words[0], root, f"{location}:{number}")
    unique(list(names.values()), list(names), "image")
    if not names:
        raise FileFault(location, "names no image")
    return location, sorted(names.values())


def _image_name(word: str, root: str, where: str) -> str:
    """The bare name; SBD's lists write `/JPEGImages/<name>.jpg`."""
    word = word.removeprefix("/JPEGImages/").removeprefix("JPEGImages/").removesuffix(".jpg")
    within(root, word, where)
    if "/" in word or "\\" in word:
        raise DataError(f"{where}: has a slash, where an image's name is expected")
    return word


def _read_annotation(location: str) -> Objects:
    data = read_bytes(location, MAX_XML)
    plain = data.replace(b"\0", b"")  # in UTF-16 as well
    if b"<!DOCTYPE" in plain:  # where entities are declared, which may stand for gigabytes
        raise FileFault(location, "is not a VOC annotation: it has a DOCTYPE, which none of them has; take it out")
    if LONG_TAG.search(plain):  # of attributes, for which the parser takes a time that grows with their square
        raise FileFault(location, "is not a VOC annotation: it has a tag or text of more than 100,000 characters")
    try:
        tree = ElementTree.fromstring(data)
        height, width = (int(float((tree.findtext(f"size/{side}") or "").strip() or 0)) for side in ("height", "width"))
        if max(height, width) > MAX_SIDE:
            raise ValueError(f"a size of {width:.0f}x{height:.0f} pixels")
        size = (height, width) if height > 0 and width > 0 else None
        found: list[_Object] = []
        for item in tree.iter("object"):
            name = item.findtext("name", "").strip()
            if name not in VOC_CLASSES:
                raise FileFault(location, f"names the class {shown(name)}; VOC's are {', '.join(VOC_CLASSES)}. {TABLE}")
            difficult = item.findtext("difficult", "0").strip() == "1"
            left, top, right, bottom = (
                float(item.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            box = make_box(left - 1, top - 1, right, bottom)  # 1-based, last pixel included
            found.append(_Object(VOC_CLASSES.index(name), box, size, difficult))
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError, RecursionError) as error:
        what = parse_error_text(error) if isinstance(error, ElementTree.ParseError) else "a size or a box is no number"
        raise FileFault(location, f"is not a VOC annotation ({what})") from None
    return tuple(found)


def _mask_labels(location: str, most: int) -> Labels:
    if not location:
        return ()
    try:
        mask = read_mask(location, None, len(VOC_CLASSES), most=most)
    except FileFault as fault:
        other = "no class" in fault.problem
        raise FileFault(location, f"{fault.problem}. {TABLE}") if other else fault from None
    return tuple(int(value) - 1 for value in np.unique(mask) if 0 < value < 255)
