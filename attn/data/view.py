"""Views of a source: some of its images, or its images with the class indices of another source."""

from __future__ import annotations

__all__ = ["SourceView", "declared_exclusive", "declared_outputs", "single_labelled", "with_classes"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from attn.data.left_out import say_left_out
from attn.data.sample import Example, Record
from attn.data.source import OnError, Source, fingerprint, raise_all
from attn.errors import DataError
from attn.wording import counted


class SourceView:
    """Some records of a source, with renumbered classes.

    Args:
        indices: Indices into the source, in the order of the view.
        classes: Class names. Labels and boxes of other classes are dropped, and their pixels are background.

    Attributes:
        by_itself: Whether the source is exclusive where nobody declares it.
    """

    def __init__(self, source: Source, indices: Sequence[int], classes: Sequence[str]) -> None:
        self._source, self._indices = source, tuple(indices)
        self.classes = tuple(classes)
        self.on_error: OnError = source.on_error
        self.exclusive: bool = source.exclusive
        self.by_itself: bool = source.by_itself if isinstance(source, SourceView) else source.exclusive
        numbers = {old: self.classes.index(name) for old, name in enumerate(source.classes) if name in self.classes}
        self._mask_values = np.zeros(256, np.uint8)
        self._mask_values[255] = 255
        for old, new in numbers.items():
            self._mask_values[old + 1] = new + 1
        self._numbers = numbers
        self.records: Sequence[Record] = tuple(_renumbered(source.records[index], numbers) for index in self._indices)

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        example = self._source.load(self._indices[index], mask=mask, saliency=saliency)
        mask_HW = None if example.mask is None else self._mask_values[example.mask]
        return replace(example, record=_renumbered(example.record, self._numbers), mask=mask_HW)

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)


def single_labelled(source: Source) -> SourceView:
    """A view of the images with exactly one class."""
    indices = [index for index, record in enumerate(source.records) if len(record.labels) == 1]
    which = ("does not have exactly one class", "do not have exactly one class")
    say_left_out("data.single_label", len(indices), len(source.records), which)
    return SourceView(source, indices, source.classes)


def declared_exclusive(source: Source, exclusive: bool, *, labels: bool = True) -> SourceView:
    """The source with what the user says of its classes.

    Args:
        exclusive: See `Source`.
        labels: Every image must have a label.

    Raises:
        DataError: The classes are exclusive, and an image has another number of labels than one.
    """
    allowed = (1,) if labels else (0, 1)
    wrong = [record for record in source.records if len(record.labels) not in allowed] if exclusive else []
    have = "does not have" if len(wrong) == 1 else "do not have"
    where = (
        f"data.exclusive=true, but {len(wrong)} of {counted(len(source.records), 'image')} {have} exactly one label "
        "(correct their labels, leave these images out by data.single_label=true, or leave data.exclusive out)"
    )
    raise_all([f"{record.title} has {_named(record, source.classes)}" for record in wrong], where)
    view = SourceView(source, range(len(source.records)), source.classes)
    view.exclusive = exclusive
    return view


def declared_outputs(source: Source) -> Literal["softmax", "sigmoid"] | None:
    """What makes probabilities of this data's logits, if `data.exclusive` says otherwise than the source by itself."""
    if not isinstance(source, SourceView) or source.exclusive == source.by_itself:
        return None
    return "softmax" if source.exclusive else "sigmoid"


def with_classes(source: Source, classes: Sequence[str], *, name: str, other: str) -> Source:
    """The source with the class indices of another source. Classes are matched by name; the source may lack some.

    Args:
        classes: Class names of the other source.
        name, other: Names of the two sources in messages.

    Raises:
        DataError: The source has images of classes that the other source does not have.
    """
    if source.classes == tuple(classes):
        return source
    used = {label for record in source.records for label in record.labels}
    unknown = [source.classes[label] for label in sorted(used) if source.classes[label] not in classes]
    if unknown:
        raise DataError(
            f"{name} has images of {', '.join(unknown)}, which {other} does not have; its classes are "
            f"{', '.join(classes)}. Classes are matched by name: rename them, or remove those images"
        )
    return SourceView(source, range(len(source.records)), classes)


def _named(record: Record, classes: Sequence[str]) -> str:
    """How many labels an image has, and which."""
    names = ", ".join(classes[label] for label in record.labels)
    return f"{counted(len(record.labels), 'label')}: {names}" if names else "no label"


def _renumbered(record: Record, numbers: Mapping[int, int]) -> Record:
    labels = tuple(sorted(numbers[label] for label in record.labels if label in numbers))
    boxes = tuple((numbers[label], box) for label, box in record.boxes if label in numbers)
    difficult = record.difficult
    if difficult is not None:
        difficult = tuple(sorted(numbers[label] for label in difficult if label in numbers))
    return replace(record, labels=labels, boxes=boxes, difficult=difficult)
