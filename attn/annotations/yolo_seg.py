"""YOLO's segmentation format: a text file for each image, with a class and a polygon in each line."""

from __future__ import annotations

__all__ = ["YoloFormat"]

import posixpath
from dataclasses import dataclass
from typing import ClassVar

import yaml

from attn.annotations.format import AnnotationFormat, Files
from attn.annotations.image import AnnotatedImage, Region


@dataclass(frozen=True)
class YoloFormat(AnnotationFormat):
    """`data.yaml`, `images` and `labels`; corners are in shares of the image's width and height."""

    masks: ClassVar[bool] = False

    def add(self, image: AnnotatedImage) -> Files:
        lines = [self._line(region, image.size) for region in image.regions]
        return {f"labels/{posixpath.splitext(image.file)[0]}.txt": "".join(lines).encode()}

    def end(self) -> Files:
        content = {"train": "images", "val": "images", "names": dict(enumerate(self.classes))}
        return {"data.yaml": yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()}

    def _line(self, region: Region, size: tuple[int, int]) -> str:
        height, width = size
        shares = (self.polygon(region) / (width, height)).ravel()
        return f"{region.label} {' '.join(f'{value:.6g}' for value in shares)}\n"
