"""A folder of images: one folder per class, every image of one class."""

from __future__ import annotations

__all__ = ["IMAGE_SUFFIXES", "FolderConfig"]

import logging
import posixpath
from typing import Literal

from attn.config.base import Location
from attn.data.files import join, list_files, list_folders, stem_of
from attn.data.sample import Record
from attn.data.source import FileSource, SourceConfig, beside
from attn.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
log = logging.getLogger(__name__)


class FolderConfig(SourceConfig):
    """`<root>/<split>/<class>/<name>.jpg`; an image's id is `<class>/<name>`.

    Attributes:
        split: Folder below the root; `.` for the root itself.
        masks: Folder of index PNGs with the same class folders and names; an image may lack its mask.
        saliency: Folder of grey PNGs, laid out likewise; then every image must have one.
        classes: Their names in order; every folder where it is not given.
    """

    source: Literal["folder"] = "folder"
    root: Location
    masks: Location | None = None
    saliency: Location | None = None
    classes: tuple[str, ...] | None = None

    def open(self) -> FileSource:
        """List the images.

        Raises:
            DataError: There is no such folder, it holds no images, or it has a class that `classes` does not name.
        """
        root = self.root if self.split in ("", ".") else join(self.root, self.split)
        there = list_folders(root)
        if not there:
            have = ", ".join(list_folders(self.root)) or "no folders"
            raise DataError(
                f"{root}: no class folders in it; {self.root} has {have}. "
                "Set data.root and data.split (split=. where the classes lie in the root itself)"
            )
        classes = tuple(there) if self.classes is None else self.classes
        strange = [name for name in there if name not in classes]
        if strange:
            raise DataError(f"{root}: {', '.join(strange)} are not among the classes {', '.join(classes)}")
        records = [record for name in there for record in self._records(root, name, classes.index(name))]
        if not records:
            raise DataError(f"{root}: no images in {', '.join(there)}; known are {', '.join(sorted(IMAGE_SUFFIXES))}")
        records.sort(key=lambda record: record.image_id)
        return FileSource(classes, records, self.on_error, exclusive=True)

    def _records(self, root: str, name: str, label: int) -> list[Record]:
        folder = join(root, name)
        files = list_files(folder)
        images = [file for file in files if posixpath.splitext(file)[1].lower() in IMAGE_SUFFIXES]
        if len(images) < len(files):
            log.info("%s: %d files that are no images are left alone", folder, len(files) - len(images))
        stems = [stem_of(image) for image in images]
        masks = beside(self.masks and join(self.masks, name), stems)
        return [
            Record(
                image_id=f"{name}/{stem}",
                labels=(label,),
                image=join(folder, image),
                mask=mask,
                saliency=self.saliency and join(self.saliency, name, f"{stem}.png"),
            )
            for image, stem, mask in zip(images, stems, masks, strict=True)
        ]
