"""Caltech-256 (Griffin, Holub and Perona, 2007): one folder a class, no official split."""

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
HOME = "https://data.caltech.edu/records/nyy15-4j048"
BELOW = ((), (FOLDER,), ("caltech256", FOLDER))
"""Where the class folders may lie below the root; the last is how torchvision lays them out."""


class Caltech256Config(SourceConfig):
    """`256_ObjectCategories/<number>.<class>/<file>.jpg`, without the class of clutter (ICASC, section 4.1).

    Attributes:
        split: `train` or `test`. Both are drawn from each class at random by `split_seed`; no image is in both.
        root: That folder, or one up to two levels above it, as torchvision lays it out.
        train_per_class, test_per_class: How many images of each class are drawn. A class of fewer than both has all of
            its test images, and what is left to train on.
        split_seed: Decides which images are drawn.
    """

    source: Literal["caltech256"] = "caltech256"
    root: Location
    train_per_class: int = Field(default=60, ge=1)
    test_per_class: int = Field(default=25, ge=1)
    split_seed: int = Field(default=0, ge=0)

    def open(self) -> FileSource:
        """List the images of the split.

        Raises:
            DataError: The folders are not there, or the split is unknown.
        """
        if self.split not in ("train", "test"):
            raise DataError(
                f"data.split={self.split!r} is not there; Caltech-256 has train and test, drawn by data.split_seed "
                "(validation.split=test, or null)"
            )
        folder, names = self._folder()
        names = [name for name in names if name != CLUTTER]
        records = [record for label, name in enumerate(names) for record in self._records(folder, name, label)]
        classes = [name.partition(".")[2] for name in names]
        return FileSource(classes, records, self.on_error, exclusive=True, max_pixels=self.max_pixels)

    def _folder(self) -> tuple[str, list[str]]:
        for parts in BELOW:
            place = join(self.root, *parts)
            names = [name for name in list_folders(place) if re.fullmatch(r"\d{3}\..+", name)]
            if names:
                return place, sorted(names)
        raise DataError(
            f"{self.root}: no {FOLDER} with folders such as 001.ak47 in it. Unpack {FOLDER}.tar from {HOME} there, "
            "or set data.root"
        )

    def _records(self, folder: str, name: str, label: int) -> list[Record]:
        place = join(folder, name)
        files = sorted(file for file in list_files(place) if posixpath.splitext(file)[1].lower() in IMAGE_SUFFIXES)
        order = np.random.default_rng([self.split_seed, label]).permutation(len(files))
        cut = self.test_per_class
        chosen = order[:cut] if self.split == "test" else order[cut : cut + self.train_per_class]
        return [
            Record(f"{name}/{stem_of(files[index])}", (label,), image=join(place, files[index]))
            for index in sorted(chosen.tolist())
        ]
