"""Writers of small data sets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


class Make:
    """Makes images, masks and folders of them; sizes are (height, width)."""

    def jpeg(self, seed: int, size: tuple[int, int] = (20, 30)) -> bytes:
        """A smooth, photograph-like image."""
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        return self.encode(Image.fromarray(coarse).resize((size[1], size[0])), "JPEG")

    def png(self, pixels: np.ndarray, *, palette: bool = False) -> bytes:
        """A grey or palette PNG."""
        picture = Image.fromarray(pixels.astype(np.uint8))
        if palette:
            picture.putpalette([(37 * value) % 256 for value in range(768)])
        return self.encode(picture, "PNG")

    def encode(self, picture: Image.Image, kind: str, **options: object) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        return stream.getvalue()

    def mask(self, *values: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
        """Upright bars: background, then each of the values."""
        mask = np.zeros(size, np.uint8)
        bars = np.array_split(np.arange(size[1]), len(values) + 1)
        for bar, value in zip(bars[1:], values, strict=True):
            mask[:, bar] = value
        return mask

    def write(self, root: Path, files: dict[str, bytes | str]) -> Path:
        """Files by their path below a folder, which is given back."""
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return root

    def voc_files(self) -> dict[str, bytes | str]:
        """Four VOC images. By mask value: a_1 has 1, b_2 has 15, 1 and ignored pixels, c_3 has 8, d_4 has 20."""
        files: dict[str, bytes | str] = {
            "VOC2012/ImageSets/Segmentation/train.txt": "c_3\na_1\nb_2\n\n",
            "VOC2012/ImageSets/Segmentation/val.txt": "d_4\n",
        }
        for seed, (name, values) in enumerate({"a_1": (1,), "b_2": (15, 1, 255), "c_3": (8,), "d_4": (20,)}.items()):
            files[f"VOC2012/JPEGImages/{name}.jpg"] = self.jpeg(seed)
            files[f"VOC2012/SegmentationClass/{name}.png"] = self.png(self.mask(*values), palette=True)
            files[f"VOC2012/Saliency/{name}.png"] = self.png(np.where(self.mask(*values) > 0, 200, 10))
        return files

    def annotation(self, *objects: tuple[str, int, tuple[int, int, int, int]]) -> str:
        """VOC's XML of objects: name, difficult, corners counted from 1."""
        parts = [
            f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
            f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for name, difficult, box in objects
        ]
        return f"<annotation>{''.join(parts)}</annotation>"

    def coco(self) -> dict[str, list[dict[str, object]]]:
        """Annotations of three 20x30 images: a square on a larger one, one beside a crowd, and nothing."""
        crowd = np.zeros((20, 30), np.uint8)
        crowd[:, 20:] = 1
        flat = crowd.T.reshape(-1)  # column by column
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], flat, [2]]))))
        return {
            "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (7, 3, 12)],
            "categories": [{"id": 90, "name": "zebra"}, {"id": 2, "name": "apple"}],
            "annotations": [
                {"image_id": 3, "category_id": 2, "bbox": [4, 4, 4, 4], "segmentation": [[4, 4, 8, 4, 8, 8, 4, 8]]},
                {"image_id": 3, "category_id": 90, "bbox": [2, 2, 7, 7], "segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]]},
                {"image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5], "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]]},
                {
                    "image_id": 7, "category_id": 90, "iscrowd": 1, "bbox": [20, 0, 10, 20],
                    "segmentation": {"size": [20, 30], "counts": runs.tolist()},
                },
            ],
        }  # fmt: skip

    def coco_files(self) -> dict[str, bytes | str]:
        return {"annotations/instances_val.json": json.dumps(self.coco())} | {
            f"val/{number}.jpg": self.jpeg(number) for number in (3, 7, 12)
        }


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture
def voc(tmp_path: Path, make: Make) -> Path:
    """A folder VOCdevkit with four images."""
    return make.write(tmp_path / "VOCdevkit", make.voc_files())
