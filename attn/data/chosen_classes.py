"""Some of a data set's classes: which images are kept, and what becomes of the other classes."""

from __future__ import annotations

__all__ = ["MASK_HINT", "check_negatives", "choose_classes", "mask_order"]

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from attn.data.classes import first_names
from attn.data.left_out import say_left_out
from attn.data.source import Source, raise_all
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
    there: Sequence[str],
    classes: Sequence[str] | None,
    mask_classes: Sequence[str] | None,
    *,
    masks: bool,
    places: Mapping[str, str],
    where: str,
) -> tuple[str, ...]:
    """The classes in the order of the masks' values, of a layout that lists its classes itself.

    `mask_classes` may name more classes than the data has. A check of the data goes on with those that it lacks behind
    the others, so that they do not hide its other faults.

    Args:
        there: Classes in the data, in their own order.
        classes: `data.classes`.
        mask_classes: `data.mask_classes`.
        masks: Whether the data has masks.
        places: Where each class of the data is used, for messages: `row 3 and 2 more`.
        where: The data's location, for messages.

    Raises:
        DataError: A class is probably misspelt, or nothing says which class a mask's value is.
    """
    listed = tuple(there) if classes is None else tuple(classes)
    others = [name for name in there if name not in listed]
    near = {name: difflib.get_close_matches(name, others, n=1, cutoff=SIMILAR) for name in listed if name not in there}
    raise_all(
        [f"data.classes: there is no class {name!r}: did you mean {one[0]}?" for name, one in near.items() if one],
        unnumbered=() if mask_classes is not None else (*listed, *others),
    )
    if mask_classes is not None:
        lacking = [name for name in dict.fromkeys((*listed, *others)) if name not in mask_classes]
        if lacking:
            named = first_names([_placed(name, places, mask_classes) for name in lacking])
            way = "It names the values 1, 2, ... of the masks: correct the name, or add it"
            raise_all([f"data.mask_classes lacks {named}. {way}"], where, unnumbered=lacking)
        return (*mask_classes, *lacking)
    if others and masks and not any(near.values()):
        fault = (
            f"data.classes leaves out {first_names(others)}, so it does not say which classes the masks' values "
            "1, 2, ... are: list the names of all values in data.mask_classes"
        )
        raise_all([fault], unnumbered=(*listed, *others))
    return (*listed, *others)


def _placed(name: str, places: Mapping[str, str], known: Collection[str]) -> str:
    """A class with the place where it is used and the known one that it may be a misprint of."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=SIMILAR)
    notes = [places[name]] if name in places else []
    notes += [f"did you mean {near[0]}?"] if near else []
    return f"{name} ({'; '.join(notes)})" if notes else name


def _meant(unknown: Sequence[str], known: Collection[str]) -> str:
    near = [name for wrong in unknown for name in difflib.get_close_matches(wrong, known, n=1)]
    return f"; did you mean {', '.join(near)}?" if near else f"; there are {first_names(sorted(known))}"
