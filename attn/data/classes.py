"""Two lists of class names whose indices are to mean the same."""

from __future__ import annotations

__all__ = ["check_classes", "named_classes", "some_names"]

import json
from collections.abc import Collection, Sequence

from attn.errors import DataError
from attn.files.class_names import CLASSES_FILE
from attn.files.locations import FileFault, join, read_bytes
from attn.parsing import load_json

SHOWN = 8


def check_classes(theirs: Sequence[str], ours: Sequence[str], *, what: str = "the model", of: str = "the data") -> None:
    """Refuse two lists that differ, in their order too: an index would stand for two classes.

    Args:
        theirs: Of what was made with them.
        ours: Of what it is used with.
        what: What has the first list, for the message.
        of: What has the second.

    Raises:
        DataError: With the classes that differ, and the way out.
    """
    if tuple(theirs) == tuple(ours):
        return
    missing = [name for name in theirs if name not in set(ours)]
    more = [name for name in ours if name not in set(theirs)]
    if not missing and not more:
        raise DataError(
            f"{of} has the classes of {what} in another order, so that they would be taken for one another: "
            f"give data.classes={json.dumps(list(theirs))} where the source has that field"
        )
    parts = [f"{of} lacks {some_names(missing)}"] if missing else []
    parts += [f"{what} does not know {some_names(more)}"] if more else []
    way = "" if more else ", or name all of them in data.classes where the source has that field"
    raise DataError(
        f"{what} has {len(theirs)} classes, {of} {len(ours)}, and they differ: {'; '.join(parts)}. "
        f"Use data with the same classes{way}"
    )


def some_names(names: Sequence[str]) -> str:
    """The first few of a list of names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def named_classes(folder: str, names: Collection[str]) -> tuple[str, ...] | None:
    """The classes that a folder says its indices are of; None where it does not say.

    Args:
        names: Of the files in it.

    Raises:
        FileFault: The file cannot be read.
    """
    if CLASSES_FILE not in names:
        return None
    place = join(folder, CLASSES_FILE)
    try:
        classes = load_json(read_bytes(place))
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise FileFault(place, "is no list of class names: make the folder again")
    return tuple(classes)
