"""The images with extra supervision of a run, and how many there are of each class."""

from __future__ import annotations

__all__ = ["class_counts", "read_ids", "supervised_images"]

from collections.abc import Sequence

from attn.data.names import normalize_name
from attn.data.sampler import choose_supervised
from attn.data.source import Source
from attn.files.locations import FileFault, read_named
from attn.methods.base import Supervision


def supervised_images(source: Source, wanted: Supervision | None, seed: int) -> list[int]:
    """Indices of the images with extra supervision; none for a method without.

    Raises:
        DataError: Too few images have masks or boxes, one that is named has none, or the list cannot be read or has
            no image of the source.
    """
    if wanted is None:
        return []
    among = None if wanted.id_list is None else read_ids(wanted.id_list)
    return choose_supervised(
        source.records, wanted.images, wanted.kind, seed, choice=wanted.choice, ids=wanted.ids, among=among
    )


def read_ids(location: str) -> frozenset[str]:
    """The image ids of a text file, one a line; empty lines count for nothing.

    Raises:
        FileFault: There is no such file, it is not text, or it has no ids.
    """
    try:
        lines = read_named(location).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FileFault(location, "is not a text file of image ids, one a line") from None
    ids = frozenset(normalize_name(line.strip()) for line in lines) - {""}
    if not ids:
        raise FileFault(location, "has no image ids; expected one a line")
    return ids


def class_counts(source: Source, images: Sequence[int]) -> str:
    """The number of these images that show each class, in the order of the classes: `cat 9, dog 8`."""
    labels = [label for index in images for label in source.records[index].labels]
    return ", ".join(f"{name} {labels.count(label)}" for label, name in enumerate(source.classes))
