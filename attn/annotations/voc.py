"""VOC's layout: a palette PNG for each image, and a list of the images."""

from __future__ import annotations

__all__ = ["VocFormat"]

import posixpath
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from attn.annotations.format import AnnotationFormat, Files
from attn.annotations.image import AnnotatedImage
from attn.data.sources.voc import VOC_CLASSES
from attn.pictures.palette import voc_palette
from attn.segmentation.masks import CLASSES_TABLE, VOID, classes_table, encode_mask


@dataclass(frozen=True)
class VocFormat(AnnotationFormat):
    """`JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/train.txt`, `classes.csv`, and CVAT's `labelmap.txt`.

    Pixels of classes that are all among VOC's have VOC's numbers, as `data.source=voc` expects; others have their
    class's index + 1. Open pixels stay void.
    """

    images: ClassVar[str] = "JPEGImages"
    polygons: ClassVar[bool] = False
    flat: ClassVar[bool] = True
    names: list[str] = field(default_factory=list[str])

    @property
    def numbered(self) -> tuple[str, ...]:
        """The classes in the order of their numbers, from 1."""
        return VOC_CLASSES if set(self.classes) <= set(VOC_CLASSES) else tuple(self.classes)

    def add(self, image: AnnotatedImage) -> Files:
        name = posixpath.splitext(image.file)[0]
        self.names.append(name)
        numbers = np.zeros(256, np.uint8)
        numbers[VOID] = VOID
        for value, index in image.classes.items():
            numbers[value] = self.numbered.index(self.classes[index]) + 1
        return {f"SegmentationClass/{name}.png": encode_mask(numbers[image.mask])}

    def end(self) -> Files:
        listed = "".join(f"{name}\n" for name in self.names)
        colours = voc_palette().tolist()
        lines = [
            f"{name}:{','.join(map(str, colours[number]))}::\n"
            for number, name in enumerate(("background", *self.numbered))
        ]
        return {
            "ImageSets/Segmentation/train.txt": listed.encode(),
            CLASSES_TABLE: classes_table(self.numbered),
            "labelmap.txt": "".join(lines).encode(),
        }
