"""Some of a data set's classes: which images are kept, and what becomes of the other classes."""

from __future__ import annotations

__all__ = ["MASK_HINT", "check_negatives", "choose_classes", "mask_order"]

import difflib
from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

from attn.data.classes import first_names
from attn.data.left_out import say_left_out
from attn.data.source import Source
from attn.data.view import SourceView
from attn.errors import DataError

SIMILAR = 0.75
MASK_HINT = "If the masks have more classes than the images' labels, name the values 1, 2, ... in data.mask_classes"
"""What to do about a mask's index that is not a class, in a layout that lists its classes itself."""


class _Choice(Protocol):
    @property
    def classes(self) -> tuple[str, ...] | None: ...

    @property
    def negatives(self) -> bool: ...

    @property
    def single_label(self) -> bool: ...


C = TypeVar("C", bound=_Choice)


def check_negatives(config: C) -> C:
    """Refuse negatives that would be ignored; a validator of configs.

    Raises:
        ValueError: There are none without chosen classes, nor if each image must have one class.
    """
    if config.negatives and config.classes is None:
        raise ValueError(
            "negatives=true keeps images that show none of data.classes, which is not set: set data.classes, or leave "
            "negatives out"
        )
    if config.negatives and config.single_label:
        raise ValueError(
            "negatives=true keeps images that show none of data.classes, and single_label=true leaves them out: set "
            "one of them"
        )
    return config


def choose_classes(source: Source, classes: Sequence[str] | None, *, negatives: bool) -> Source:
    """The source with these classes only, in this order.

    An image all of whose labels are other classes is left out, or kept without a label. In masks the other classes are
    background, since a model of these classes is to find nothing there; ignored pixels stay ignored. Images that never
    had a label stay.

    Args:
        classes: Names; None: all.
        negatives: Keep images that show only other classes.

    Raises:
        DataError: A class is unknown or named twice, no image is left, or every image must have a class.
    """
    if classes is None or tuple(classes) == source.classes:
        return source
    if twice := sorted({name for name in classes if list(classes).count(name) > 1}):
        raise DataError(f"data.classes names {', '.join(twice)} twice")
    if unknown := [name for name in classes if name not in source.classes]:
        raise DataError(f"data.classes: {first_names(unknown)}: no such class{_meant(unknown, source.classes)}")
    if negatives and source.exclusive:
        raise DataError(
            "data.negatives=true keeps images without any of data.classes, and in this layout every image has "
            "exactly one class: leave it out"
        )
    chosen = {source.classes.index(name) for name in classes}
    kept = [
        index
        for index, record in enumerate(source.records)
        if negatives or not record.labels or not chosen.isdisjoint(record.labels)
    ]
    if source.records and not kept:
        raise DataError(f"no image of the split shows any of data.classes = {first_names(classes)}")
    way_out = "" if source.exclusive else " (data.negatives=true keeps them)"
    which = ("shows only other classes", "show only other classes")
    say_left_out("data.classes", len(kept), len(source.records), which, way_out)
    return SourceView(source, kept, classes)


def mask_order(
    there: Sequence[str], classes: Sequence[str] | None, mask_classes: Sequence[str] | None, *, masks: bool
) -> tuple[str, ...]:
    """The classes in the order of the masks' values, of a layout that lists its classes itself.

    `mask_classes` may name more classes than the data has.

    Args:
        there: Classes in the data, in their own order.
        classes: `data.classes`.
        mask_classes: `data.mask_classes`.
        masks: Whether the data has masks.

    Raises:
        DataError: A class is probably misspelt, or nothing says which class a mask's value is.
    """
    listed = tuple(there) if classes is None else tuple(classes)
    others = [name for name in there if name not in listed]
    for name in listed:
        near = [] if name in there else difflib.get_close_matches(name, others, n=1, cutoff=SIMILAR)
        if near:
            raise DataError(f"data.classes: there is no class {name!r}: did you mean {near[0]}?")
    if mask_classes is not None:
        if lacking := [name for name in dict.fromkeys((*listed, *others)) if name not in mask_classes]:
            raise DataError(
                f"data.mask_classes lacks {first_names(lacking)}: it names the values 1, 2, ... of the masks"
            )
        return tuple(mask_classes)
    if others and masks:
        raise DataError(
            f"data.classes leaves out {first_names(others)}, so it does not say which classes the masks' values "
            "1, 2, ... are: list the names of all values in data.mask_classes"
        )
    return (*listed, *others)


def _meant(unknown: Sequence[str], known: Collection[str]) -> str:
    near = [name for wrong in unknown for name in difflib.get_close_matches(wrong, known, n=1)]
    return f"; did you mean {', '.join(near)}?" if near else f"; there are {first_names(sorted(known))}"
