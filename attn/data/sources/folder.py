"""Image folders: one folder per class, and one class per image."""

from __future__ import annotations

__all__ = ["IMAGE_SUFFIXES", "FolderConfig"]

import logging
import posixpath
from collections.abc import Collection, Sequence
from typing import Literal

from attn.config.base import BelowRoot, Location
from attn.data.chosen_classes import MASK_HINT, choose_classes, mask_order
from attn.data.names import normalize_name, sort_class_names
from attn.data.sample import Record
from attn.data.source import FileSource, Source, SourceConfig, find_masks, require_folder
from attn.errors import DataError
from attn.files.locations import below, join, list_files, list_folders, missing_folder_note

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File suffixes of the formats that `attn.data.decode` reads."""
log = logging.getLogger(__name__)


class FolderConfig(SourceConfig):
    """`<root>/<split>/<class>/<name>.jpg`; an image's id is `<class>/<name>`.

    Attributes:
        split: Folder below the root; `.`: the root itself.
        root: Folder that contains the splits.
        masks: Folder of index PNGs `<split>/<class>/<name>.png` or `<class>/<name>.png`; images may lack masks.
        saliency: Folder of grey PNGs with the same layout; every image must have one.
        classes: Class names in order; None: all class folders, sorted, numbers numerically. Images of other classes
            are left out.
        mask_classes: Names of the values 1, 2, ... of the masks, also of classes that `classes` leaves out or that no
            image is of: their pixels are background. None: `classes`, which must then be all.
    """

    source: Literal["folder"] = "folder"
    root: Location
    masks: BelowRoot | None = None
    saliency: BelowRoot | None = None
    classes: tuple[str, ...] | None = None
    mask_classes: tuple[str, ...] | None = None

    def open(self) -> Source:
        """List the images.

        Raises:
            DataError: The folder does not exist, has no images, or none of `classes`.
        """
        root = self._split_folder(self.root)
        own = {below(self.root, path) for path in (self.masks, self.saliency) if path}
        there = [name for name in list_folders(root) if not _contains_any(join(root, name), own)]
        if not there:
            have = ", ".join(list_folders(self.root)) or "no folders"
            raise DataError(
                f"{root}: no class folders in it; {self.root} has {have}{missing_folder_note(self.root)}. "
                "Set data.root and data.split (split=. if the class folders are in the root itself)"
            )
        given = None if self.classes is None else tuple(map(normalize_name, self.classes))
        names_there = sort_class_names(map(normalize_name, there))
        classes = mask_order(
            names_there,
            given,
            None if self.mask_classes is None else tuple(map(normalize_name, self.mask_classes)),
            masks=self.masks is not None,
            places={name: f"folder {name}" for name in names_there},
            where=root,
        )
        numbers = {name: number for number, name in enumerate(classes)}
        images = _images_in(root, there)
        if not images:
            raise DataError(
                f"{root}: no images in {', '.join(there)}; known suffixes are {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        names = [posixpath.splitext(image)[0] for image in images]
        masks: list[str | None] = [None] * len(names)
        if self.masks is not None:
            location = self._resolved(self.masks, there)
            masks = find_masks(location, names, lambda: self._other_names(there, own), given=self.masks)
        saliency = None if self.saliency is None else self._resolved(self.saliency, there)
        if saliency is not None:
            require_folder(saliency, "data.saliency", str(self.saliency))
        records = [
            Record(
                image_id=name,
                labels=(numbers[normalize_name(name.partition("/")[0])],),
                image=join(root, image),
                mask=mask,
                saliency=saliency and join(saliency, f"{name}.png"),
            )
            for image, name, mask in zip(images, names, masks, strict=True)
        ]
        records.sort(key=lambda record: record.image_id)
        whole = FileSource(
            classes, records, self.on_error, exclusive=True, max_pixels=self.max_pixels, mask_hint=MASK_HINT
        )
        return choose_classes(whole, names_there if given is None else given, negatives=False)

    def _split_folder(self, folder: str) -> str:
        return folder if self.split in ("", ".") else join(folder, self.split)

    def _resolved(self, path: str, classes: Sequence[str]) -> str:
        """The folder with the class folders of masks or saliency maps: that of the split, if it exists."""
        location = below(self.root, path)
        return (
            self._split_folder(location) if set(classes) & set(list_folders(self._split_folder(location))) else location
        )

    def _other_names(self, classes: Sequence[str], exclude: Collection[str]) -> list[str]:
        """Names of all splits' images, with and without the split; folders in `exclude` contain no images."""
        splits = [name for name in list_folders(self.root) if not _contains_any(join(self.root, name), exclude)]
        images = {split: _images_in(join(self.root, split), classes) for split in splits}
        names = [(split, posixpath.splitext(image)[0]) for split, item in images.items() for image in item]
        return [*(name for _, name in names), *(f"{split}/{name}" for split, name in names)]


def _contains_any(folder: str, locations: Collection[str]) -> bool:
    return any(f"{location}/".startswith(f"{folder}/") for location in locations)


def _images_in(root: str, classes: Sequence[str]) -> list[str]:
    """Paths `<class>/<file>` of the images in class folders."""
    results: list[str] = []
    for name in classes:
        files = list_files(join(root, name))
        images = [file for file in files if posixpath.splitext(file)[1].lower() in IMAGE_SUFFIXES]
        if len(images) < len(files):
            log.info("%s/%s: %d files that are not images are ignored", root, name, len(files) - len(images))
        results += [f"{name}/{image}" for image in images]
    return results
