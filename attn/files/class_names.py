"""The names of the classes in a folder of files that are named by class index."""

from __future__ import annotations

__all__ = ["CLASSES_FILE", "classes_file"]

import json
from collections.abc import Sequence

CLASSES_FILE = "classes.json"


def classes_file(classes: Sequence[str]) -> bytes:
    """What lies as `CLASSES_FILE` in such a folder."""
    return json.dumps(list(classes), ensure_ascii=False).encode()
