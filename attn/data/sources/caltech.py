"""Caltech-256 (Griffin, Holub and Perona, 2007): one folder per class, no official split."""

from __future__ import annotations

__all__ = ["Caltech256Config"]

import posixpath
import re
from typing import Literal

import numpy as np
from pydantic import Field

from attn.config.base import Location
from attn.data.sample import Record
from attn.data.source import FileSource, SourceConfig
from attn.data.sources.folder import IMAGE_SUFFIXES
from attn.errors import DataError
from attn.files.locations import join, list_files, list_folders, stem_of

FOLDER = "256_ObjectCategories"
CLUTTER = "257.clutter"
DOWNLOAD_PAGE = "https://data.caltech.edu/records/nyy15-4j048"
LAYOUTS = ((), (FOLDER,), ("caltech256", FOLDER))
"""Possible locations of the class folders below the root; the last is torchvision's."""


class Caltech256Config(SourceConfig):
    """`256_ObjectCategories/<number>.<class>/<file>.jpg`, without the clutter class (ICASC, section 4.1).

    Attributes:
        split: `train` or `test`, drawn at random from each class; no image is in both.
        root: `256_ObjectCategories`, or a folder up to two levels above it, as torchvision lays it out.
        train_per_class, test_per_class: Images drawn per class. In a class with too few images, test images are drawn
            first, and the rest is for training.
        split_seed: Seed of the random split.
    """

    source: Literal["caltech256"] = "caltech256"
    root: Location
    train_per_class: int = Field(default=60, ge=1)
    test_per_class: int = Field(default=25, ge=1)
    split_seed: int = Field(default=0, ge=0)

    @classmethod
    def default_validation_split(cls, split: str) -> str:
        return "test"

    def open(self) -> FileSource:
        """List the images of the split.

        Raises:
            DataError: The folders do not exist, or the split is unknown.
        """
        if self.split not in ("train", "test"):
            raise DataError(
                f"there is no data.split={self.split!r}; Caltech-256 has train and test, drawn by data.split_seed "
                "(set validation.split to test or null)"
            )
        folder, names = self._folder()
        names = [name for name in names if name != CLUTTER]
        records = [record for label, name in enumerate(names) for record in self._records(folder, name, label)]
        classes = [name.partition(".")[2] for name in names]
        return FileSource(classes, records, self.on_error, exclusive=True, max_pixels=self.max_pixels)

    def _folder(self) -> tuple[str, list[str]]:
        for parts in LAYOUTS:
            location = join(self.root, *parts)
            names = [name for name in list_folders(location) if re.fullmatch(r"\d{3}\..+", name)]
            if names:
                return location, sorted(names)
        raise DataError(
            f"{self.root}: no {FOLDER} with folders such as 001.ak47 in it. Unpack {FOLDER}.tar from {DOWNLOAD_PAGE} "
            "there, or set data.root"
        )

    def _records(self, folder: str, name: str, label: int) -> list[Record]:
        location = join(folder, name)
        files = sorted(file for file in list_files(location) if posixpath.splitext(file)[1].lower() in IMAGE_SUFFIXES)
        order = np.random.default_rng([self.split_seed, label]).permutation(len(files))
        cut = self.test_per_class
        chosen = order[:cut] if self.split == "test" else order[cut : cut + self.train_per_class]
        return [
            Record(f"{name}/{stem_of(files[index])}", (label,), image=join(location, files[index]))
            for index in sorted(chosen.tolist())
        ]
