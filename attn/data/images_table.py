"""`images.csv`: which file each image id is, for folders whose file names contain image ids."""

from __future__ import annotations

__all__ = ["IMAGES_TABLE", "images_table"]

from collections.abc import Iterable

from attn.data.sample import Record
from attn.files.spreadsheet import csv_table
from attn.redaction import without_secrets

IMAGES_TABLE = "images.csv"


def images_table(records: Iterable[Record]) -> bytes:
    """The content of an `images.csv`: columns `image_id` and `image`, the location; empty for images without a file."""
    rows = [(record.image_id, record.image and without_secrets(record.image)) for record in records]
    return csv_table(("image_id", "image"), rows).encode()
