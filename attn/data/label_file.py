"""Image-level labels from a file of their own: NPZ or JSON with `ids`, `labels` and `classes`."""

from __future__ import annotations

__all__ = ["read_label_file"]

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from attn.data.files import FileFault, read_bytes


def read_label_file(
    location: str, names: Sequence[str], classes: Sequence[str], *, partial: bool = False
) -> list[tuple[int, ...]]:
    """The labels of some images, as positions in `classes`, whatever order the file has them in.

    Args:
        partial: An image that the file lacks has no label.

    Raises:
        FileFault: The file is broken, knows other classes, or lacks an image.
    """
    content = _read(location)
    lacking = [key for key in ("ids", "labels", "classes") if key not in content]
    if lacking:
        raise FileFault(location, f"has no {', '.join(lacking)}; expected ids, labels and classes")
    known = [str(name) for name in content["classes"]]
    strange = sorted(set(known) - set(classes))
    if strange:
        raise FileFault(location, f"has the classes {', '.join(strange)}, which the data set does not")
    try:
        table = np.asarray(content["labels"])
        ids = [str(name) for name in content["ids"]]
    except ValueError:
        raise FileFault(location, "labels must be a table of 0 and 1") from None
    if table.shape != (len(ids), len(known)) or not np.isin(table, (0, 1)).all():
        raise FileFault(location, f"labels must be 0 or 1, {len(ids)} ids x {len(known)} classes, not {table.shape}")
    rows = {name: row for row, name in enumerate(ids)}
    missing = [name for name in names if name not in rows]
    if missing and not partial:
        raise FileFault(location, f"has no labels for {len(missing)} of {len(names)} images, {missing[0]} among them")
    order = [classes.index(name) for name in known]
    labels = {name: np.flatnonzero(table[rows[name]]) for name in names if name in rows}
    return [tuple(sorted(order[column] for column in labels.get(name, ()))) for name in names]


def _read(location: str) -> dict[str, Any]:
    data = read_bytes(location)
    try:
        if location.endswith(".json"):
            content = json.loads(data)
            if isinstance(content, dict):
                return content
            raise FileFault(location, "must hold a mapping with ids, labels and classes")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FileFault(location, f"is not a readable NPZ or JSON file ({error})") from None
