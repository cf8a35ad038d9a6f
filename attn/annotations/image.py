"""What is exported: images with their masks, and the regions of a mask.

Shapes: H0×W0 image, h×w box of a region.
"""

from __future__ import annotations

__all__ = ["AnnotatedImage", "MaskSet", "MaskedImage", "Region", "regions_of"]

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaskedImage:
    """An image with its mask, in the image's upright frame.

    Attributes:
        image_id: Unique among the images of an export.
        file: The image's file name, or its path below the folder of all images.
        mask: uint8 (H0, W0): 0 background, 255 open or void, else a class.
        classes: Class index by the mask's value, for every value but 0 and 255.
        scores: Probability of the class, by class index; classes without a known one are left out.
        read: Returns the content of the image's file.
    """

    image_id: str
    file: str
    mask: NDArray[np.uint8]
    classes: Mapping[int, int]
    read: Callable[[], bytes]
    scores: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True)
class MaskSet:
    """Masks to export.

    Attributes:
        classes: Names, by class index.
        count: Number of images.
        read: Reads the images with their masks, one after another.
    """

    classes: tuple[str, ...]
    count: int
    read: Callable[[], Iterator[MaskedImage]]


@dataclass(frozen=True)
class Region:
    """A connected part of a class in a mask; pixels that touch at a corner are connected.

    Attributes:
        label: Class index.
        left, top: The box's position in the image, in pixels.
        pixels: bool (h, w): the region's pixels in its box.
        score: Probability of the class, if it is known.
    """

    label: int
    left: int
    top: int
    pixels: NDArray[np.bool_]
    score: float | None = None

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels."""
        height, width = self.pixels.shape
        return self.left, self.top, width, height


@dataclass(frozen=True)
class AnnotatedImage:
    """An image as a format writes it.

    Attributes:
        number: Position among the images of the export, from 1.
        file: Relative path of the image's file; no other image has this path without suffix.
        size: (H0, W0).
        mask: uint8 (H0, W0): 0 background, 255 open or void, else the number of `classes`.
        classes: Class index by the mask's value.
        regions: By class and place, without open pixels and background.
    """

    number: int
    file: str
    size: tuple[int, int]
    mask: NDArray[np.uint8]
    classes: Mapping[int, int]
    regions: tuple[Region, ...]


def regions_of(image: MaskedImage) -> tuple[Region, ...]:
    """The connected parts of every class of a mask, in the order of classes, and from top to bottom."""
    results: list[Region] = []
    for value, label in sorted(image.classes.items(), key=lambda item: item[1]):
        of_class = image.mask == value
        if not of_class.any():
            continue
        count, parts, boxes, _ = cv2.connectedComponentsWithStats(of_class.view(np.uint8), connectivity=8)
        for part in range(1, count):
            left, top, width, height = (int(number) for number in boxes[part][:4])
            pixels = parts[top : top + height, left : left + width] == part
            results.append(Region(label, left, top, pixels, image.scores.get(label)))
    return tuple(results)
