"""Writers of small data sets."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Files = dict[str, bytes]


def jpeg(seed: int, size: tuple[int, int] = (20, 30)) -> bytes:
    """A smooth photograph-like image of (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((size[1], size[0])).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def png(pixels: np.ndarray, *, palette: bool = False) -> bytes:
    """A grey or palette PNG of uint8 pixels."""
    picture = Image.fromarray(pixels.astype(np.uint8))
    if palette:
        picture.putpalette([(37 * value) % 256 for value in range(768)])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def mask_of(*values: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Vertical bars of background and the given values."""
    mask = np.zeros(size, np.uint8)
    bars = np.array_split(np.arange(size[1]), len(values) + 1)
    for bar, value in zip(bars[1:], values, strict=True):
        mask[:, bar] = value
    return mask


@pytest.fixture
def write() -> Callable[[Path, Files], Path]:
    """Writes files below a folder and gives the folder back."""

    def put(root: Path, files: Files) -> Path:
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return root

    return put


def voc_files() -> Files:
    """Four VOC images with palette masks and saliency; classes by mask value: 1, 15 and 1, 8, 20."""
    masks = {"a_1": (1,), "b_2": (15, 1, 255), "c_3": (8,), "d_4": (20,)}
    files = {"VOC2012/ImageSets/Segmentation/train.txt": b"c_3\na_1\nb_2\n\n"}
    files["VOC2012/ImageSets/Segmentation/val.txt"] = b"d_4\n"
    for seed, (name, values) in enumerate(masks.items()):
        files[f"VOC2012/JPEGImages/{name}.jpg"] = jpeg(seed)
        files[f"VOC2012/SegmentationClass/{name}.png"] = png(mask_of(*values), palette=True)
        files[f"VOC2012/Saliency/{name}.png"] = png(np.where(mask_of(*values) > 0, 200, 10))
    return files


@pytest.fixture
def voc(tmp_path: Path, write: Callable[[Path, Files], Path]) -> Path:
    """A folder VOCdevkit with four images."""
    return write(tmp_path / "VOCdevkit", voc_files())
