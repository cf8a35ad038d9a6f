"""A prediction as files: JSON for programs, PNGs for people and for other programs."""

from __future__ import annotations

__all__ = ["write_prediction"]

import json
import math
import re
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.data.files import join
from attn.data.transfer import write_bytes
from attn.pictures.layout import Picture, Tile, grid
from attn.pictures.overlay import overlay
from attn.pictures.palette import colored
from attn.prediction.predictor import ImagePrediction
from attn.segmentation.masks import encode_mask

LARGE = 1 << 21
"""Pixels that are drawn at most, of a larger image every other one: the colours of all would fill the memory."""
SHOWN = 6
"""Maps in a panel; the most probable."""


def write_prediction(found: ImagePrediction, location: str, folder: str) -> dict[str, Any]:
    """Write `prediction.json`, `panel.png`, `mask.png` (in VOC's palette) and `map-<class>.png` (grey, 255 for 1).

    Args:
        location: Of the image.
        folder: A local one or an `s3://` prefix; one image's own.

    Returns:
        The content of `prediction.json`.

    Raises:
        RunError: The folder cannot be written.
    """
    files = {"panel": "panel.png", "mask": "mask.png", "maps": {name: _map_file(found, name) for name in found.labels}}
    write_bytes(join(folder, "panel.png"), panel_of(found).png())
    write_bytes(join(folder, "mask.png"), encode_mask(found.mask))
    for name in found.maps:
        write_bytes(join(folder, _map_file(found, name)), _map_png(found.maps[name]))
    data = {"image": location, "folder": folder, **found.to_json(), "files": files}
    write_bytes(join(folder, "prediction.json"), json.dumps(data, indent=1, allow_nan=False).encode())
    return data


def _map_png(map_HW: NDArray[np.float32]) -> bytes:
    pixels = np.empty(map_HW.shape, np.uint8)
    for row, values in zip(pixels, map_HW, strict=True):  # of all rows at once, there would be three maps in memory
        row[:] = np.rint(np.clip(values, 0, 1) * 255)
    return cv2.imencode(".png", pixels)[1].tobytes()


def panel_of(found: ImagePrediction, *, height: int = 240) -> Picture:
    """One row: the image, the map of each label over it with its probability, and the mask over the image."""
    step = math.ceil(math.sqrt(found.mask.size / LARGE))
    if step > 1:
        maps = {name: found.maps[name][::step, ::step].copy() for name in found.labels[:SHOWN]}
        image = np.ascontiguousarray(found.image[::step, ::step])
        found = replace(found, image=image, maps=maps, mask=found.mask[::step, ::step])
    tiles: list[Tile | None] = [Tile(found.image, "image")]
    for name in found.labels[:SHOWN]:
        pixels = overlay(found.image, found.maps[name], found.mask == found.classes.index(name) + 1)
        tiles.append(Tile(pixels, name, f"{found.probabilities[name]:.2f}"))
    grey = np.repeat(cv2.cvtColor(found.image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) // 2
    painted = np.where((found.mask > 0)[..., None], colored(found.mask) // 2 + grey, grey).astype(np.uint8)
    return grid([[*tiles, Tile(painted, "mask")]], height=height)


def _map_file(found: ImagePrediction, name: str) -> str:
    """Its number keeps two classes apart whose names become equal."""
    return f"map-{found.classes.index(name):02d}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.png"
