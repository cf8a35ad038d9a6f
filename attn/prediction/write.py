"""Writes a prediction to files: JSON and PNGs."""

from __future__ import annotations

__all__ = ["best_guess", "map_png", "panel_of", "removed_text", "write_prediction"]

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.display import percent
from attn.evaluation.inference import strips
from attn.files.locations import join
from attn.files.transfer import write_bytes
from attn.pictures.layout import Picture
from attn.pictures.legend import ATTENTION, PROBABILITY
from attn.pictures.panel import panel
from attn.pictures.tiles import PanelData
from attn.prediction.predictor import ImagePrediction, MapRows
from attn.segmentation.masks import MOST_CLASSES, encode_mask

LARGE = 1 << 21
"""Largest number of pixels to draw; larger images are subsampled, to save memory."""
SHOWN = 6
"""Number of maps in a panel, the most probable first."""


def write_prediction(predicted: ImagePrediction, location: str, folder: str) -> dict[str, Any]:
    """Write `prediction.json`, `panel.png`, `mask.png` (in VOC's palette), `map-<index>-<class>.png` (grey, 255 for 1).

    Args:
        location: Location of the image.
        folder: Folder or `s3://` prefix for this image's files.

    Returns:
        The content of `prediction.json`.

    Raises:
        RunError: The folder cannot be written.
    """
    files = {
        "panel": "panel.png",
        "mask": "mask.png",
        "maps": {name: _map_file(predicted, name) for name in predicted.labels},
    }
    write_bytes(join(folder, "panel.png"), panel_of(predicted).png())
    write_bytes(join(folder, "mask.png"), encode_mask(predicted.mask))
    for name in predicted.maps:
        write_bytes(join(folder, _map_file(predicted, name)), map_png(predicted.maps[name]))
    data = {"image": location, "folder": folder, **predicted.to_json(), "files": files}
    write_bytes(join(folder, "prediction.json"), json.dumps(data, indent=1, allow_nan=False).encode())
    return data


def map_png(values: MapRows) -> bytes:
    """A map as a grey PNG: 255 for 1."""
    pixels = np.empty(values.shape, np.uint8)
    for rows in strips((pixels.shape[0], pixels.shape[1])):
        pixels[rows] = np.rint(np.clip(values[rows], 0, 1) * 255)
    return cv2.imencode(".png", pixels)[1].tobytes()


def panel_of(predicted: ImagePrediction, *, height: int = 240) -> Picture:
    """Draw one row: the image, the most probable labels' maps with their probabilities, and the mask."""
    step = math.ceil(math.sqrt(predicted.image[..., 0].size / LARGE))
    image = np.ascontiguousarray(predicted.image[::step, ::step])
    down, across = (
        _sample_positions(length, shown) for length, shown in zip(predicted.mask.shape, image.shape, strict=False)
    )
    numbered = predicted.classes if len(predicted.classes) <= MOST_CLASSES else predicted.labels
    shown = predicted.labels[:SHOWN]
    data = PanelData(
        image_id="image",
        image=image,
        classes=tuple(numbered),
        maps={numbered.index(name): _sampled(predicted.maps[name], down, across) for name in shown},
        probabilities={numbered.index(name): predicted.probabilities[name] for name in shown},
        masks={"mask": predicted.mask[np.ix_(down, across)]},
        outlined="mask",
        note=_note(predicted),
        shown_by_maps=PROBABILITY if predicted.task == "segmentation" else ATTENTION,
    )
    return panel(data, height=height)


def _note(predicted: ImagePrediction) -> str:
    """What stands below the picture: the classes that the CRF removed, or the best guess if no class is predicted."""
    if predicted.removed:
        return removed_text(predicted.removed, predicted.probabilities)
    return "" if predicted.labels else best_guess(predicted.probabilities)


def best_guess(probabilities: Mapping[str, float]) -> str:
    """The most probable class of an image without a predicted one."""
    best = max(probabilities, key=probabilities.__getitem__)
    return f"best guess: {best} {percent(probabilities[best])} %; no class is predicted"


def removed_text(removed: Sequence[str], probabilities: Mapping[str, float]) -> str:
    """The classes that the CRF removed: `train 72.2 %, removed by the CRF`."""
    names = ", ".join(f"{name} {percent(probabilities[name])} %" for name in removed)
    return f"{names}, removed by the CRF" if names else ""


def _sample_positions(length: int, shown: int) -> NDArray[np.int64]:
    """Positions along an axis of `length` pixels that subsample it to `shown` pixels."""
    return ((np.arange(shown) + 0.5) * length / shown).astype(np.int64)


def _sampled(rows_of_map: MapRows, down: NDArray[np.int64], across: NDArray[np.int64]) -> NDArray[np.float32]:
    """A map's values at some rows and columns, given in increasing order."""
    values = np.empty((len(down), len(across)), np.float32)
    for rows in strips((rows_of_map.shape[0], rows_of_map.shape[1])):
        first, last = np.searchsorted(down, (rows.start, rows.stop))
        if first < last:
            values[first:last] = rows_of_map[rows][np.ix_(down[first:last] - rows.start, across)]
    return values


def _map_file(predicted: ImagePrediction, name: str) -> str:
    """A map's file name; the class's number distinguishes classes of equal names after replacing characters."""
    return f"map-{predicted.classes.index(name):02d}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.png"
