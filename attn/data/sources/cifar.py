"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 32×32 images with one class each, read by torchvision.

The files are pickles, which can execute code when opened. torchvision first compares them with their published
checksums, so that no other files are opened.
"""

from __future__ import annotations

__all__ = ["Cifar10Config", "Cifar100Config", "CifarSource"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from attn.config.base import Location, is_remote
from attn.data.sample import Example, Record
from attn.data.source import OnError, SourceConfig, fingerprint
from attn.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

DOWNLOAD_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
Name = Literal["CIFAR10", "CIFAR100"]


class _CifarConfig(SourceConfig):
    name: ClassVar[Name]
    root: Location

    @classmethod
    def default_validation_split(cls, split: str) -> str:
        return "test"

    def open(self) -> CifarSource:
        """Read the split.

        Raises:
            DataError: The split is unknown, or a file is missing or differs from the published one.
        """
        if self.split not in ("train", "test"):
            raise DataError(
                f"there is no data.split={self.split!r}; CIFAR has train and test (validation.split=test, or null)"
            )
        return CifarSource(self.name, self.root, self.split, self.on_error)


class Cifar10Config(_CifarConfig):
    """Ten classes; an image's id is `<split>-<number>`.

    Attributes:
        root: Local folder that holds `cifar-10-batches-py`, the unpacked Python version.
        split: `train` (50 000 images) or `test` (10 000).
    """

    name: ClassVar[Name] = "CIFAR10"
    source: Literal["cifar10"] = "cifar10"


class Cifar100Config(_CifarConfig):
    """The hundred fine classes; an image's id is `<split>-<number>`.

    Attributes:
        root: Local folder that holds `cifar-100-python`.
        split: `train` (50 000 images) or `test` (10 000).
    """

    name: ClassVar[Name] = "CIFAR100"
    source: Literal["cifar100"] = "cifar100"


class CifarSource:
    """One split in memory, 3 kB per image. A pickled copy in a worker reads the files again."""

    exclusive = True

    def __init__(self, name: Name, root: str, split: str, on_error: OnError) -> None:
        self.on_error: OnError = on_error
        self._name: Name = name
        self._root, self._split = root, split
        result = self._read()
        self.classes = tuple(result.classes)
        self._images: NDArray[np.uint8] | None = result.data
        self.records: Sequence[Record] = tuple(
            Record(f"{split}-{number:05d}", (int(label),)) for number, label in enumerate(result.targets)
        )

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        images = self._read().data if self._images is None else self._images
        self._images = images
        return Example(self.records[index], images[index])

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_images": None}

    def _read(self) -> CIFAR10:
        from torchvision import datasets  # slow to import

        kind: type[CIFAR10] = getattr(datasets, self._name)
        if is_remote(self._root):
            raise DataError(f"{self._root}: CIFAR must be in a local folder; copy {kind.base_folder} to one")
        try:
            return kind(self._root, train=self._split == "train", download=False)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{self._root}/{kind.base_folder} does not exist, or a file in it differs from the published one. "
                f"Unpack {kind.filename} from {DOWNLOAD_PAGE} in {self._root}, or set data.root"
            ) from error
