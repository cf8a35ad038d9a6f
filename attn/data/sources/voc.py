"""PASCAL VOC's folder layout: photographs, list files, palette masks, XML annotations (Everingham et al. 2010).

It reads any data set in this layout, such as VOC 2007 and 2012, or SBD's `train_aug` list with SBD's masks.
"""

from __future__ import annotations

__all__ = ["VOC_CLASSES", "VocConfig"]

import difflib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, TypeVar
from xml.etree import ElementTree

import numpy as np
from pydantic import field_validator, model_validator

from attn.config.base import BelowRoot, Location
from attn.data.cells import short_repr
from attn.data.chosen_classes import check_negatives, choose_classes
from attn.data.decode import read_mask
from attn.data.sample import Box, Record, make_box
from attn.data.source import (
    FileSource,
    Source,
    SourceConfig,
    files_for,
    find_masks,
    map_in_threads,
    raise_all,
    require_folder,
    require_images,
    require_unique,
)
from attn.data.sources.label_file import read_label_file
from attn.errors import DataError
from attn.files.locations import (
    FileFault,
    below,
    join,
    list_files,
    list_folders,
    missing_folder_note,
    missing_location,
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
"""In the official order: mask value = index + 1."""

MASKS = "SegmentationClass"
AFTER_NAME = re.compile(r"-?\d+|.*/.*")
"""The rest of a line after the name: a number, as in per-class lists, or the mask's path, as in SBD's lists."""
TABLE = (
    "For other images or classes use a table: data.source=manifest data.manifest=TABLE.csv data.root=..., with the "
    "columns image,labels,mask and rows such as JPEGImages/a.png,cat|dog,SegmentationClass/a.png"
)
MAX_XML, MAX_SIDE = 16 << 20, 1 << 20
LONG_TAG = re.compile(rb"<[^<]{100000}")
"""A very long tag with the text after it. An attribute's value may contain `>`, but never `<`."""
Labels = tuple[int, ...]
T = TypeVar("T")
log = logging.getLogger(__name__)


class _Object(NamedTuple):
    """An object in an annotation.

    Attributes:
        image_size: (height, width) of the image according to the annotation.
        difficult: Marked as hard to recognise.
    """

    label: int
    box: Box
    image_size: tuple[int, int] | None
    difficult: bool


Objects = tuple[_Object, ...]


class VocConfig(SourceConfig):
    """VOC's layout. Labels come from `labels` if given, else from `Annotations`, else from the masks.

    Attributes:
        root: `.../VOCdevkit/VOC<year>`, or a folder up to two levels above it.
        year: Selects one of several `VOC<year>` folders.
        split: A list in `ImageSets/Segmentation` or `ImageSets/Main`, or a path to a list. Relative paths in this and
            the following fields start from the folder with `JPEGImages`.
        masks: Folder of index PNGs; None: do not use masks.
        saliency: Folder of grey PNGs; every image must have one.
        labels: NPZ or JSON file with `ids`, `labels` (0/1, one row per id) and `classes`.
        difficult: Include objects that the annotations mark as difficult.
        classes: Classes to use, in this order; None: all. An image that shows only others is left out; in masks
            others are background.
        negatives: With `classes`: keep images that show only other classes, without a label.
    """

    source: Literal["voc"] = "voc"
    root: Location
    year: int = 2012
    masks: BelowRoot | None = MASKS
    saliency: BelowRoot | None = None
    labels: BelowRoot | None = None
    difficult: bool = True
    classes: tuple[str, ...] | None = None
    negatives: bool = False

    _check_negatives = model_validator(mode="after")(check_negatives)

    @field_validator("split")
    @classmethod
    def _expand_user(cls, split: str) -> str:
        return os.path.expanduser(split)

    def open(self) -> Source:
        """Read the list and the labels of the split; no image is read.

        Raises:
            DataError: Folder, split or labels are missing or inconsistent.
        """
        return choose_classes(self._open(labelled=True), self.classes, negatives=self.negatives)

    def open_unlabelled(self) -> Source:
        return choose_classes(self._open(labelled=False), self.classes, negatives=self.negatives)

    def _open(self, *, labelled: bool) -> FileSource:
        root = _find_root(self.root, self.year)
        where, names = _read_split(root, self.split)
        masks = self._masks(root, names)
        saliency = None if self.saliency is None else below(root, self.saliency)
        if saliency is not None:
            require_folder(saliency, "data.saliency", str(self.saliency))
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
            require_images(records, self.on_error, where)
        except DataError as error:
            others = any(not name.endswith(".jpg") for name in list_files(join(root, "JPEGImages")))
            raise DataError(f"{error}. {TABLE}" if others else str(error)) from None
        return FileSource(VOC_CLASSES, records, self.on_error, faults, max_pixels=self.max_pixels)

    def _masks(self, root: str, names: list[str]) -> list[str | None]:
        if self.masks is None or self.masks == MASKS:  # the default folder may be missing
            return files_for(self.masks and join(root, self.masks), names)
        return find_masks(
            below(root, self.masks),
            names,
            lambda: [stem_of(file) for file in list_files(join(root, "JPEGImages"))],
            given=self.masks,
        )

    def _objects(self, root: str, names: list[str]) -> tuple[list[Objects] | None, dict[str, DataError]]:
        """Objects of every image, or None if an image has no annotation; and errors of unreadable ones, by image."""
        annotations = files_for(join(root, "Annotations"), names, ".xml")
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
            location = below(root, self.labels)
            if not exists(location):
                raise missing_location("data.labels", self.labels, location, "no such file")
            return read_label_file(location, names, VOC_CLASSES, partial=not labelled)
        if objects is not None:
            return [tuple(sorted({item.label for item in self._counted(entry)})) for entry in objects]
        bare = [name for name, mask in zip(names, masks, strict=True) if mask is None]
        if bare and labelled:
            raise DataError(
                f"{where}: no labels for {len(bare)} of {len(names)} images, such as {bare[0]}. Provide annotations in "
                f"{join(root, 'Annotations')}, masks in {below(root, self.masks or MASKS)} (or set data.masks), or an "
                "NPZ or JSON file in data.labels"
            )
        masked = len(names) - len(bare)
        log.info("%s: no annotations; the labels of %d images are taken from their masks", where, masked)
        return self._read_all(partial(_mask_labels, max_pixels=self.max_pixels), names, masks, faults)

    def _read_all(
        self,
        read: Callable[[str], tuple[T, ...]],
        names: list[str],
        locations: list[str | None],
        faults: dict[str, DataError],
    ) -> list[tuple[T, ...]]:
        """Read one file per image. With `on_error="skip"`, errors are added to `faults`, by image."""

        def attempt(location: str | None) -> tuple[T, ...] | FileFault:
            try:
                return read(location or "")
            except FileFault as fault:
                if self.on_error == "raise":
                    raise
                return fault

        results = map_in_threads(attempt, locations)
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
            raise missing_location("data.split", split, location, "no such file")
    else:
        folders = [join(root, "ImageSets", kind) for kind in ("Segmentation", "Main")]
        results = {
            folder: [stem_of(name) for name in list_files(folder) if name.endswith(".txt")] for folder in folders
        }
        holders = [folder for folder, splits in results.items() if split in splits]
        if not holders:
            have = "; ".join(f"{folder}: {', '.join(splits)}" for folder, splits in results.items() if splits)
            raise DataError(
                f"there is no split {split!r} in {join(root, 'ImageSets')}; {have or 'it has no list files'}"
            )
        location = join(holders[0], f"{split}.txt")
    try:
        lines = read_bytes(location).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FileFault(location, "is not a text file of image names") from None
    names, faults = dict[str, str](), list[str]()
    for number, line in enumerate(lines, start=1):
        words, where = line.split(), f"{location}:{number}"
        try:
            if not all(map(AFTER_NAME.fullmatch, words[1:])):
                raise DataError(f"{where}: expected an image's name, found a space. {TABLE}")
            if words and words[1:] != ["-1"]:  # in a per-class list, -1 marks images without the class
                names[where] = _image_name(words[0], root, where)
        except DataError as error:
            faults.append(str(error))
    raise_all(faults)
    require_unique(list(names.values()), list(names), "image")
    if not names:
        raise FileFault(location, "lists no images")
    return location, sorted(set(names.values()))


def _image_name(word: str, root: str, where: str) -> str:
    """The image's bare name; SBD's lists have `/JPEGImages/<name>.jpg`."""
    word = word.removeprefix("/JPEGImages/").removeprefix("JPEGImages/").removesuffix(".jpg")
    within(root, word, where)
    if "/" in word or "\\" in word:
        raise DataError(f"{where}: expected an image's name, found a path with a slash")
    return word


def _read_annotation(location: str) -> Objects:
    data = read_bytes(location, MAX_XML)
    plain = data.replace(b"\0", b"")  # also matches UTF-16
    if b"<!DOCTYPE" in plain:  # may declare entities that expand to gigabytes
        raise FileFault(location, "is not a VOC annotation: it has a DOCTYPE, which is not allowed; remove it")
    if LONG_TAG.search(plain):  # the parser takes quadratic time for many attributes
        raise FileFault(location, "is not a VOC annotation: it has a tag or text of more than 100,000 characters")
    try:
        tree = ElementTree.fromstring(data)
        height, width = (int(float((tree.findtext(f"size/{side}") or "").strip() or 0)) for side in ("height", "width"))
        if max(height, width) > MAX_SIDE:
            raise ValueError(f"a size of {width:.0f}x{height:.0f} pixels")
        size = (height, width) if height > 0 and width > 0 else None
        results: list[_Object] = []
        for item in tree.iter("object"):
            name = item.findtext("name", "").strip()
            if name not in VOC_CLASSES:
                near = difflib.get_close_matches(name, VOC_CLASSES, n=1)
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                raise FileFault(
                    location, f"has the class {short_repr(name)}{meant}; VOC's are {', '.join(VOC_CLASSES)}. {TABLE}"
                )
            difficult = item.findtext("difficult", "0").strip() == "1"
            left, top, right, bottom = (
                float(item.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            box = make_box(left - 1, top - 1, right, bottom)  # 1-based, last pixel included
            results.append(_Object(VOC_CLASSES.index(name), box, size, difficult))
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError, RecursionError) as error:
        is_xml_error = isinstance(error, ElementTree.ParseError)
        what = parse_error_text(error) if is_xml_error else "a size or a box is not a number"
        raise FileFault(location, f"is not a VOC annotation ({what})") from None
    return tuple(results)


def _mask_labels(location: str, max_pixels: int) -> Labels:
    if not location:
        return ()
    try:
        mask = read_mask(location, None, len(VOC_CLASSES), max_pixels=max_pixels)
    except FileFault as fault:
        other = "no class" in fault.problem
        raise FileFault(location, f"{fault.problem}. {TABLE}") if other else fault from None
    return tuple(int(value) - 1 for value in np.unique(mask) if 0 < value < 255)
