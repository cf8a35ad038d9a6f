"""LabelMe: a JSON file beside each image, with a polygon for each region."""

from __future__ import annotations

__all__ = ["LabelMeFormat"]

import posixpath
from dataclasses import dataclass
from typing import ClassVar

from attn.annotations.format import AnnotationFormat, Files, json_bytes, rounded
from attn.annotations.image import AnnotatedImage

VERSION = "5.5.0"
"""Of LabelMe, which wrote this layout of JSON."""


@dataclass(frozen=True)
class LabelMeFormat(AnnotationFormat):
    """`<name>.json` beside `<name>.jpg`, and `labels.txt` for `labelme --labels`."""

    images: ClassVar[str] = ""
    masks: ClassVar[bool] = False

    def add(self, image: AnnotatedImage) -> Files:
        shapes = [
            {
                "label": self.classes[region.label],
                "points": rounded(self.polygon(region)),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for region in image.regions
        ]
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": posixpath.basename(image.file),
            "imageData": None,
            "imageHeight": image.size[0],
            "imageWidth": image.size[1],
        }
        return {f"{posixpath.splitext(image.file)[0]}.json": json_bytes(content)}

    def end(self) -> Files:
        return {"labels.txt": "".join(f"{name}\n" for name in self.classes).encode()}
