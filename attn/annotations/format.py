"""The contract of a file format of annotations: it turns images and their regions into the content of files."""

from __future__ import annotations

__all__ = ["AnnotationFormat", "Files", "Shapes", "json_bytes", "rounded"]

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from attn.annotations.image import AnnotatedImage, Region
from attn.annotations.polygons import polygon_of

Files = Mapping[str, bytes]
"""Content by relative path."""


@dataclass(frozen=True)
class Shapes:
    """How regions are written.

    Attributes:
        polygons: As polygons; False: as masks.
        tolerance: Maximum distance of a polygon from the mask's outline, in pixels.
    """

    polygons: bool = False
    tolerance: float = 1.0


@dataclass(frozen=True)
class AnnotationFormat(ABC):
    """A file format of annotations.

    Attributes:
        classes: Names of the classes, by index.
        shapes: How regions are written; as the format can.
        images: Folder of the image files, relative to the export's; empty: the export's own.
        masks, polygons: Which of them the format can hold.
        flat: Image files lie in no subfolders, and have plain names.
    """

    classes: Sequence[str]
    shapes: Shapes

    images: ClassVar[str] = "images"
    masks: ClassVar[bool] = True
    polygons: ClassVar[bool] = True
    flat: ClassVar[bool] = False

    @abstractmethod
    def add(self, image: AnnotatedImage) -> Files:
        """The files of one image. Called once for each, in order."""

    def end(self) -> Files:
        """The files of the whole export, after the last image."""
        return {}

    def file_of(self, image: AnnotatedImage) -> str:
        """The image's file, relative to the export's folder."""
        return f"{self.images}/{image.file}" if self.images else image.file

    def polygon(self, region: Region) -> NDArray[np.float64]:
        """The region's outline; see `polygon_of`."""
        return polygon_of(region, self.shapes.tolerance)


def rounded(polygon: NDArray[np.float64], digits: int = 2) -> list[list[float]]:
    """The corners [x, y] of a polygon."""
    return np.round(polygon, digits).tolist()


def json_bytes(content: Any) -> bytes:
    """JSON, readable for people, in UTF-8."""
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode()
