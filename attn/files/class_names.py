"""`classes.json`: class names for a folder whose file names contain class indices."""

from __future__ import annotations

__all__ = ["CLASSES_FILE", "classes_file"]

import json
from collections.abc import Sequence

CLASSES_FILE = "classes.json"


def classes_file(classes: Sequence[str]) -> bytes:
    """The content of a `classes.json`: a JSON list of class names."""
    return json.dumps(list(classes), ensure_ascii=False).encode()
