"""The table beside masks, which says what their values are."""

from __future__ import annotations

import csv
import io

import numpy as np
from PIL import Image

from attn.segmentation.masks import classes_table, encode_mask


def test_value_name_and_colour_of_each_class() -> None:
    """VOC's colours, as its development kit has them; and as the masks themselves have them."""
    rows = list(csv.DictReader(io.StringIO(classes_table(["aeroplane", "bicycle"]).decode())))
    assert [tuple(row.values()) for row in rows] == [
        ("0", "background", "#000000"),
        ("1", "aeroplane", "#800000"),
        ("2", "bicycle", "#008000"),
        ("255", "open or void", "#e0e0c0"),
    ]
    mask = np.array([[int(row["value"]) for row in rows]], np.uint8)
    pixels = np.asarray(Image.open(io.BytesIO(encode_mask(mask))).convert("RGB"))[0]
    assert [f"#{bytes(pixel.tolist()).hex()}" for pixel in pixels] == [row["colour"] for row in rows]
