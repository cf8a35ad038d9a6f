"""Label Studio: tasks with predictions, as brush strokes or polygons, and the labelling interface for them.

A brush stroke is an RGBA picture in the run-length code of https://github.com/thi-ng/umbrella, package rle-pack: a
stream of bits with the number of values, bits of a value, bits of four kinds of lengths, and then the runs.
"""

from __future__ import annotations

__all__ = ["LabelStudioFormat"]

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from attn.annotations.format import AnnotationFormat, Files, json_bytes
from attn.annotations.image import AnnotatedImage, Region
from attn.annotations.run_lengths import row_runs
from attn.pictures.palette import voc_palette

CHANNELS = 4
LENGTH_BITS = (3, 4, 8, 16)
"""Bits of the four kinds of lengths; a length is written less one."""
VALUE_BITS = 8
SERVED = "/data/local-files/?d="
"""Label Studio serves files of its machine here, by their path below `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`."""


@dataclass(frozen=True)
class LabelStudioFormat(AnnotationFormat):
    """`tasks.json` to import, `labeling.xml` for the project's labelling interface, and `images`."""

    images: ClassVar[str] = "images"
    tasks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, image: AnnotatedImage) -> Files:
        result = [self._result(region, image.size, number) for number, region in enumerate(image.regions, 1)]
        scores = [region.score for region in image.regions if region.score is not None]
        prediction = {"model_version": "attn", "result": result} | ({"score": max(scores)} if scores else {})
        self.tasks.append({"data": {"image": SERVED + quote(self.file_of(image))}, "predictions": [prediction]})
        return {}

    def end(self) -> Files:
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
        kind = "PolygonLabels" if self.shapes.polygons else "BrushLabels"
        labels = ElementTree.SubElement(view, kind, name="label", toName="image")
        for index, name in enumerate(self.classes):
            color = "#" + bytes(voc_palette()[(index + 1) % 255].tolist()).hex()
            ElementTree.SubElement(labels, "Label", value=name, background=color)
        return {"tasks.json": json_bytes(self.tasks), "labeling.xml": ElementTree.tostring(view, "utf-8")}

    def _result(self, region: Region, size: tuple[int, int], number: int) -> dict[str, Any]:
        height, width = size
        kind = "polygonlabels" if self.shapes.polygons else "brushlabels"
        value: dict[str, Any] = {kind: [self.classes[region.label]]}
        if self.shapes.polygons:
            percent = self.polygon(region) * 100 / (width, height)
            value |= {"points": np.round(percent, 6).tolist(), "closed": True}
        else:
            value |= {"format": "rle", "rle": list(_brush(row_runs(region, size)))}
        return {
            "id": f"region{number}",
            "type": kind,
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
            **({} if region.score is None else {"score": region.score}),
        }


def _brush(runs: list[int]) -> bytes:
    """The code of a picture of transparent and opaque pixels, by the run lengths of its pixels."""
    bits = f"{sum(runs) * CHANNELS:032b}{VALUE_BITS - 1:05b}" + "".join(f"{size - 1:04b}" for size in LENGTH_BITS)
    bits += "".join(_run_bits(runs))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _run_bits(runs: list[int]) -> Iterator[str]:
    longest = 1 << LENGTH_BITS[-1]
    for position, pixels in enumerate(runs):
        value = 255 if position % 2 else 0
        left = pixels * CHANNELS
        while left:
            length = min(left, longest)
            kind = next(kind for kind, bits in enumerate(LENGTH_BITS) if length <= 1 << bits)
            yield f"1{kind:02b}{length - 1:0{LENGTH_BITS[kind]}b}{value:0{VALUE_BITS}b}"
            left -= length
