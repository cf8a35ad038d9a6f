"""Index masks as files: palette PNGs in VOC's colours."""

from __future__ import annotations

__all__ = ["CLASSES_TABLE", "MOST_CLASSES", "classes_table", "encode_mask", "mask_name"]

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attn.data.names import name_fault
from attn.errors import DataError
from attn.files.spreadsheet import csv_table
from attn.pictures.palette import voc_palette

MOST_CLASSES = 254
"""That a mask can hold: 0 is the background, and 255 open or void."""


CLASSES_TABLE = "classes.csv"
"""File beside masks that says which class each of their values is."""
VOID = 255


def classes_table(classes: Sequence[str]) -> bytes:
    """The content of a `classes.csv`: value in the mask, name, and colour in the palette as `#rrggbb`."""
    names = dict(enumerate(("background", *classes))) | {VOID: "open or void"}
    colours = voc_palette()
    rows = [(value, name, "#" + bytes(colours[value].tolist()).hex()) for value, name in names.items()]
    return csv_table(("value", "name", "colour"), rows).encode()


def encode_mask(mask_HW: NDArray[np.uint8]) -> bytes:
    """A mask of indices (0 background, class index + 1, 255 open or void) as a palette PNG."""
    mask = np.ascontiguousarray(mask_HW)
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"a mask is uint8 (H, W), got {mask.dtype} {mask.shape}")
    picture = Image.fromarray(mask)
    picture.putpalette(voc_palette().tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def mask_name(image_id: str) -> str:
    """The file of an image's mask, relative to its folder.

    Raises:
        DataError: The id is no valid name.
    """
    if fault := name_fault(image_id):
        raise DataError(f"image id {image_id!r} cannot be a file's name: it {fault}")
    return f"{image_id}.png"
