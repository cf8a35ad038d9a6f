"""COCO: one JSON file; a region is a run-length code, exact to the pixel, or a polygon (Lin et al. 2014)."""

from __future__ import annotations

__all__ = ["CocoFormat"]

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from attn.annotations.format import AnnotationFormat, Files, rounded
from attn.annotations.image import AnnotatedImage, Region
from attn.annotations.run_lengths import column_runs

SPLIT = "train"


@dataclass(frozen=True)
class CocoFormat(AnnotationFormat):
    """`annotations/instances_train.json` and the images in `train`, as `data.source=coco` reads them."""

    images: ClassVar[str] = SPLIT
    listed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    annotations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, image: AnnotatedImage) -> Files:
        height, width = image.size
        self.listed.append({"id": image.number, "file_name": image.file, "height": height, "width": width})
        for region in image.regions:
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image.number,
                    "category_id": region.label + 1,
                    "iscrowd": 0,
                    "area": region.area,
                    "bbox": list(region.box),
                    "segmentation": self._segmentation(region, image.size),
                    **({} if region.score is None else {"score": round(region.score, 6)}),
                }
            )
        return {}

    def end(self) -> Files:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, 1)]
        content = {"images": self.listed, "annotations": self.annotations, "categories": categories}
        return {f"annotations/instances_{SPLIT}.json": json.dumps(content, allow_nan=False).encode()}

    def _segmentation(self, region: Region, size: tuple[int, int]) -> Any:
        if self.shapes.polygons:
            return [[value for corner in rounded(self.polygon(region)) for value in corner]]
        from pycocotools import mask

        runs: Any = {"size": list(size), "counts": column_runs(region, size)}
        code: Any = mask.frPyObjects(runs, *size)
        return {"size": list(size), "counts": code["counts"].decode()}
