"""Image-level labels from a separate file, NPZ or JSON with `ids`, `labels` and `classes`."""

from __future__ import annotations

__all__ = ["read_label_file"]

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from attn.data.cells import text_of
from attn.data.names import normalize_name
from attn.errors import DataError
from attn.files.locations import FileFault, read_named
from attn.files.packed import load_arrays
from attn.parsing import load_json

SAVE_HINT = "save one with np.savez(path, ids=..., labels=..., classes=...); labels are 0 or 1, with one row per id"


def read_label_file(
    location: str, names: Sequence[str], classes: Sequence[str], *, partial: bool = False
) -> list[tuple[int, ...]]:
    """The labels of the named images, as indices into `classes`.

    Args:
        names: Image ids; the file may have them in any order.
        partial: Images that the file lacks have no labels, instead of raising an error.

    Raises:
        FileFault: The file is broken, has other classes, or lacks an image.
    """
    content = _read(location)
    lacking = [key for key in ("ids", "labels", "classes") if key not in content]
    if lacking:
        raise FileFault(location, f"has no {', '.join(lacking)}; expected ids, labels and classes: {SAVE_HINT}")
    known = [normalize_name(name) for name in _names(content["classes"], "classes", location)]
    ids = _names(content["ids"], "ids", location)
    unknown = sorted(set(known) - set(classes))
    if unknown:
        raise FileFault(
            location, f"has the unknown classes {', '.join(unknown)}; the data set has {', '.join(classes)}"
        )
    try:
        table = np.asarray(content["labels"])
    except ValueError:
        raise FileFault(location, "labels must be a table of 0 and 1") from None
    if table.shape != (len(ids), len(known)):
        raise FileFault(location, f"labels must be a table of {len(ids)} ids x {len(known)} classes, not {table.shape}")
    if (wrong := np.argwhere(~np.isin(table, (0, 1)))).size:
        row, column = wrong[0]
        problem = f"labels must be 0 or 1; that of {ids[row]!r} for {known[column]!r} is not"
        raise FileFault(location, problem)
    rows = {name: row for row, name in enumerate(ids)}
    missing = [name for name in names if name not in rows]
    if missing and not partial:
        raise FileFault(location, f"has no labels for {len(missing)} of {len(names)} images, such as {missing[0]}")
    order = [classes.index(name) for name in known]
    labels = {name: np.flatnonzero(table[rows[name]]) for name in names if name in rows}
    return [tuple(sorted(order[column] for column in labels.get(name, ()))) for name in names]


def _names(values: Any, what: str, location: str) -> list[str]:
    """A list of unique, non-empty names."""
    entries = values.tolist() if isinstance(values, np.ndarray) else values
    try:
        names = [text_of(value) for value in entries] if isinstance(entries, list) else []
    except DataError as error:
        raise FileFault(location, f"{what}: {error}") from None
    if not names or "" in names:
        raise FileFault(location, f"{what} must be a list of non-empty names")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise FileFault(location, f"{what} has {twice[0]!r} twice")
    return names


def _read(location: str) -> dict[str, Any]:
    data = read_named(location)
    if data.startswith(b"\x93NUMPY"):
        raise FileFault(location, f"is a single array (NPY) without image ids: {SAVE_HINT}")
    try:
        if not data.startswith(b"PK"):
            content = load_json(data.decode("utf-8-sig"))
            if isinstance(content, dict):
                return content
            raise FileFault(location, f"must be a mapping with ids, labels and classes; or {SAVE_HINT}")
        return load_arrays(data)
    except ValueError as error:
        raise FileFault(location, f"is not a readable NPZ or JSON file ({error}); {SAVE_HINT}") from None
