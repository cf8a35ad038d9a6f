"""Checks that two lists of class names agree, so that class indices mean the same."""

from __future__ import annotations

__all__ = ["check_classes", "read_class_names", "first_names"]

import json
from collections.abc import Collection, Sequence

from attn.errors import DataError
from attn.files.class_names import CLASSES_FILE
from attn.files.locations import FileFault, join, read_bytes
from attn.parsing import load_json

SHOWN = 8


def check_classes(
    expected: Sequence[str], given: Sequence[str], *, what: str = "the model", of: str = "the data"
) -> None:
    """Check that two lists of classes are equal, including their order.

    Args:
        expected: Classes of the model or store.
        given: Classes of the data that it is used with.
        what: Name of the first in the message.
        of: Name of the second in the message.

    Raises:
        DataError: Lists the classes that differ, and how to fix it.
    """
    if tuple(expected) == tuple(given):
        return
    missing = [name for name in expected if name not in set(given)]
    more = [name for name in given if name not in set(expected)]
    if not missing and not more:
        raise DataError(
            f"{of} has the classes of {what} in another order, so their indices differ: set "
            f"data.classes={json.dumps(list(expected))} if the source has that field"
        )
    parts = [f"{of} lacks {first_names(missing)}"] if missing else []
    parts += [f"{what} lacks {first_names(more)}"] if more else []
    hint = "" if more else ", or list all of them in data.classes if the source has that field"
    raise DataError(
        f"{what} has {len(expected)} classes, {of} {len(given)}, and they differ: {'; '.join(parts)}. "
        f"Use data with the same classes{hint}"
    )


def first_names(names: Sequence[str]) -> str:
    """The first few names of a list, and the number of others."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def read_class_names(folder: str, names: Collection[str]) -> tuple[str, ...] | None:
    """The class names in a folder's `classes.json`; None if it has none.

    Args:
        names: Names of the files in the folder.

    Raises:
        FileFault: `classes.json` cannot be read.
    """
    if CLASSES_FILE not in names:
        return None
    location = join(folder, CLASSES_FILE)
    try:
        classes = load_json(read_bytes(location))
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise FileFault(location, "is not a JSON list of class names: create the folder again")
    return tuple(classes)
