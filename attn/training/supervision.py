"""The images with extra supervision of a run, and how many there are of each class."""

from __future__ import annotations

__all__ = ["class_counts", "supervised_images"]

from collections.abc import Sequence

from attn.data.sampler import choose_supervised
from attn.data.source import Source
from attn.methods.base import Supervision


def supervised_images(source: Source, wanted: Supervision | None, seed: int) -> list[int]:
    """Indices of the images with extra supervision; none for a method without.

    Raises:
        DataError: Too few images have masks or boxes, or one that is named has none.
    """
    if wanted is None:
        return []
    records, ids = source.records, wanted.ids
    return choose_supervised(records, wanted.images, wanted.kind, seed, choice=wanted.choice, ids=ids)


def class_counts(source: Source, images: Sequence[int]) -> str:
    """The number of these images that show each class, in the order of the classes: `cat 9, dog 8`."""
    labels = [label for index in images for label in source.records[index].labels]
    return ", ".join(f"{name} {labels.count(label)}" for label, name in enumerate(source.classes))
