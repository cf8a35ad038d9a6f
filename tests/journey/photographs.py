"""Small photographs of three kinds of objects, with masks from the same drawing, in four layouts.

A cat is an orange disc, a dog a blue triangle, a car a green box. In a folder for each class an image has one of them,
elsewhere every third image has two.
"""

from __future__ import annotations

__all__ = ["CLASSES", "LAYOUTS", "write"]

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from attn.data.sources.voc import VOC_CLASSES

CLASSES = ("car", "cat", "dog")
COLORS = {"cat": (235, 140, 30), "dog": (40, 70, 215), "car": (60, 180, 70)}
HEIGHT, WIDTH = 48, 64
COUNTS = {"train": 12, "val": 6}
Point = tuple[int, int]


@dataclass(frozen=True)
class Photograph:
    """An image and its objects.

    Attributes:
        outlines: A class and the polygon of each object, in pixels.
    """

    name: str
    split: str
    image: Image.Image
    outlines: list[tuple[str, list[Point]]]

    @property
    def labels(self) -> list[str]:
        return sorted({label for label, _ in self.outlines})

    def mask(self, values: dict[str, int]) -> Image.Image:
        """A mask with a value for each class; 0 is background."""
        mask = Image.new("L", (WIDTH, HEIGHT), 0)
        for label, outline in self.outlines:
            ImageDraw.Draw(mask).polygon(outline, fill=values[label])
        return mask


def photographs(*, single: bool) -> Iterator[Photograph]:
    """The photographs of both splits.

    Args:
        single: One object in each image.
    """
    random = np.random.default_rng(7)
    for split, count in COUNTS.items():
        for number in range(count):
            coarse = random.integers(90, 170, (4, 5, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
            labels = [CLASSES[number % 3], *([] if single or number % 3 else [CLASSES[(number + 1) % 3]])]
            outlines: list[tuple[str, list[Point]]] = []
            for place, label in enumerate(labels):
                left, top = 3 + 31 * place + int(random.integers(0, 5)), int(random.integers(4, 18))
                outlines.append((label, outline(label, left, top, 26)))
                ImageDraw.Draw(image).polygon(outlines[-1][1], fill=COLORS[label])
            yield Photograph(f"{split}_{number:02d}", split, image, outlines)


def outline(label: str, left: int, top: int, side: int) -> list[Point]:
    """The corners of an object in a square."""
    if label == "dog":
        return [(left + side // 2, top), (left + side, top + side), (left, top + side)]
    if label == "car":
        return [(left, top), (left + side, top), (left + side, top + side * 2 // 3), (left, top + side * 2 // 3)]
    angles, radius = np.linspace(0, 2 * np.pi, 16, endpoint=False), side / 2
    return [(round(left + radius + radius * np.cos(a)), round(top + radius + radius * np.sin(a))) for a in angles]


def write_folder(root: Path) -> None:
    """`photos/train/cat/train_01.png` and masks beside them."""
    values = {name: place + 1 for place, name in enumerate(CLASSES)}
    for photo in photographs(single=True):
        (label,) = photo.labels
        save(photo.image, root / photo.split / label / f"{photo.name}.png")
        save(photo.mask(values), root / "masks" / photo.split / label / f"{photo.name}.png")


def write_coco(root: Path) -> None:
    """`coco/annotations/instances_train2017.json` with polygons."""
    for split in COUNTS:
        records: dict[str, list[Any]] = {"images": [], "annotations": []}
        for photo in photographs(single=False):
            if photo.split != split:
                continue
            number = len(records["images"]) + 1
            records["images"].append({"id": number, "file_name": f"{photo.name}.png", "width": WIDTH, "height": HEIGHT})
            save(photo.image, root / f"{split}2017" / f"{photo.name}.png")
            for label, corners in photo.outlines:
                (left, top), (right, bottom) = np.min(corners, 0).tolist(), np.max(corners, 0).tolist()
                records["annotations"].append(
                    {
                        "id": len(records["annotations"]) + 1,
                        "image_id": number,
                        "category_id": CLASSES.index(label) + 1,
                        "iscrowd": 0,
                        "bbox": [left, top, right - left, bottom - top],
                        "area": (right - left) * (bottom - top),
                        "segmentation": [[edge for corner in corners for edge in corner]],
                    }
                )
        records["categories"] = [{"id": place + 1, "name": name} for place, name in enumerate(CLASSES)]
        file = root / "annotations" / f"instances_{split}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(records))


def write_manifest(root: Path) -> None:
    """`photos.csv` with image, labels, mask and split."""
    values = {name: place + 1 for place, name in enumerate(CLASSES)}
    rows: list[list[str]] = []
    for photo in photographs(single=False):
        image, mask = f"images/{photo.name}.png", f"masks/{photo.name}.png"
        save(photo.image, root / image)
        save(photo.mask(values), root / mask)
        rows.append([image, "|".join(photo.labels), mask, photo.split])
    with (root / "photos.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "labels", "mask", "split"], *rows])


def write_voc(root: Path) -> None:
    """`VOCdevkit/VOC2012`, and in `source/VOC2012` single objects with saliency, as AttnBN wants them."""
    values = {name: VOC_CLASSES.index(name) + 1 for name in CLASSES}
    for top, single in ((root, False), (root.parent / "source", True)):
        folder = top / "VOC2012"
        masks = "SegmentationClassAug" if single else "SegmentationClass"
        names: dict[str, list[str]] = {}
        for photo in photographs(single=single):
            split = "train_aug" if single and photo.split == "train" else photo.split
            names.setdefault(split, []).append(photo.name)
            save(photo.image, folder / "JPEGImages" / f"{photo.name}.jpg")
            save(photo.mask(values), folder / masks / f"{photo.name}.png")
            save(photo.mask(dict.fromkeys(CLASSES, 255)), folder / "Saliency" / f"{photo.name}.png")
        for split, listed in names.items():
            file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(listed) + "\n")


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "folder": ("photos", write_folder),
    "coco": ("coco", write_coco),
    "manifest": (".", write_manifest),
    "voc": ("VOCdevkit", write_voc),
}
"""Of each layout the name of its folder, and what writes it."""


def write(layout: str, folder: Path) -> None:
    """Write a layout's photographs below a folder."""
    name, put = LAYOUTS[layout]
    (folder / name).mkdir(parents=True, exist_ok=True)
    put(folder / name)
