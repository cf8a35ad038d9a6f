"""A folder of images: one folder per class, every image of one class."""

from __future__ import annotations

__all__ = ["IMAGE_SUFFIXES", "FolderConfig"]

import logging
import posixpath
from collections.abc import Collection, Sequence
from typing import Literal

from attn.config.base import BelowRoot, Location
from attn.data.names import in_order, normal
from attn.data.sample import Record
from attn.data.source import FileSource, SourceConfig, masks_in, refuse_absent
from attn.errors import DataError
from attn.files.locations import below, join, list_files, list_folders, missing_folder_note

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Of the formats that `attn.data.decode` reads."""
log = logging.getLogger(__name__)


class FolderConfig(SourceConfig):
    """`<root>/<split>/<class>/<name>.jpg`; an image's id is `<class>/<name>`.

    Attributes:
        split: Folder below the root; `.` for the root itself.
        root: Folder that holds the splits.
        masks: Folder of index PNGs, `<split>/<class>/<name>.png` below it, or without the split; an image may lack its
            mask.
        saliency: Folder of grey PNGs, laid out likewise; then every image must have one.
        classes: Their names in order; every folder where it is not given, sorted: numbers by value.
    """

    source: Literal["folder"] = "folder"
    root: Location
    masks: BelowRoot | None = None
    saliency: BelowRoot | None = None
    classes: tuple[str, ...] | None = None

    def open(self) -> FileSource:
        """List the images.

        Raises:
            DataError: There is no such folder, it holds no images, or it has a class that `classes` does not name.
        """
        root = self._of_split(self.root)
        own = {below(self.root, path) for path in (self.masks, self.saliency) if path}
        there = [name for name in list_folders(root) if not _leads_to(join(root, name), own)]
        if not there:
            have = ", ".join(list_folders(self.root)) or "no folders"
            raise DataError(
                f"{root}: no class folders in it; {self.root} has {have}{missing_folder_note(self.root)}. "
                "Set data.root and data.split (split=. where the classes lie in the root itself)"
            )
        classes = in_order(map(normal, there)) if self.classes is None else tuple(map(normal, self.classes))
        numbers = {name: number for number, name in enumerate(classes)}
        strange = [name for name in there if normal(name) not in numbers]
        if strange:
            raise DataError(f"{root}: {', '.join(strange)} are not among the classes {', '.join(classes)}")
        images = _images_in(root, there)
        if not images:
            raise DataError(f"{root}: no images in {', '.join(there)}; known are {', '.join(sorted(IMAGE_SUFFIXES))}")
        names = [posixpath.splitext(image)[0] for image in images]
        masks: list[str | None] = [None] * len(names)
        if self.masks is not None:
            place = self._beside(self.masks, there)
            masks = masks_in(place, names, lambda: self._other_names(there, own), given=self.masks)
        saliency = None if self.saliency is None else self._beside(self.saliency, there)
        if saliency is not None:
            refuse_absent(saliency, "data.saliency", str(self.saliency))
        records = [
            Record(
                image_id=name,
                labels=(numbers[normal(name.partition("/")[0])],),
                image=join(root, image),
                mask=mask,
                saliency=saliency and join(saliency, f"{name}.png"),
            )
            for image, name, mask in zip(images, names, masks, strict=True)
        ]
        records.sort(key=lambda record: record.image_id)
        return FileSource(classes, records, self.on_error, exclusive=True, max_pixels=self.max_pixels)

    def _of_split(self, folder: str) -> str:
        return folder if self.split in ("", ".") else join(folder, self.split)

    def _beside(self, path: str, classes: Sequence[str]) -> str:
        """The folder that holds the class folders of masks or saliency: the split's own, where there is one."""
        place = below(self.root, path)
        return self._of_split(place) if set(classes) & set(list_folders(self._of_split(place))) else place

    def _other_names(self, classes: Sequence[str], exclude: Collection[str]) -> list[str]:
        """Of the images of all splits, with the split before them and without; `exclude` holds no images."""
        splits = [name for name in list_folders(self.root) if not _leads_to(join(self.root, name), exclude)]
        images = {split: _images_in(join(self.root, split), classes) for split in splits}
        names = [(split, posixpath.splitext(image)[0]) for split, found in images.items() for image in found]
        return [*(name for _, name in names), *(f"{split}/{name}" for split, name in names)]


def _leads_to(folder: str, places: Collection[str]) -> bool:
    return any(f"{place}/".startswith(f"{folder}/") for place in places)


def _images_in(root: str, classes: Sequence[str]) -> list[str]:
    """`<class>/<file>` of the images in some class folders."""
    found: list[str] = []
    for name in classes:
        files = list_files(join(root, name))
        images = [file for file in files if posixpath.splitext(file)[1].lower() in IMAGE_SUFFIXES]
        if len(images) < len(files):
            log.info("%s/%s: %d files that are no images are left alone", root, name, len(files) - len(images))
        found += [f"{name}/{image}" for image in images]
    return found
