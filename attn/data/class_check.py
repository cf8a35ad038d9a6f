"""Finds class names that are probably misspelled, and classes with very few images."""

from __future__ import annotations

__all__ = ["class_findings"]

import difflib
import re
import statistics
from collections.abc import Iterator, Mapping

from attn.data.sources.voc import VOC_CLASSES
from attn.wording import counted

SIMILARITY = 0.85
"""Ratio of `difflib` from which two names are alike: one letter of six, or two of fourteen. Two swapped
neighbours count as one letter, in a name of any length."""
SHORTEST = 4
"""Letters of a name that another can be a misspelling of: `cat` and `cap` are two classes."""
SHORTEST_WORD = 3
"""Letters of a name of which another can be the plural: `a` and `as` are two classes."""
RARE = 0.1
"""A class with at most this share of another's images is rare beside it."""
RARE_IN_FEW = 1 / 3
"""The same share, of a class with at most `FEW_RARE` images: a small data set has too few for `RARE`."""
FEW_RARE = 2
FEW = 5
"""Fewer images than these are very few for a class, where the others have at least ten times as many."""
VOC_SHARE = 0.5
"""A data set with at least this share of its classes among VOC's is probably meant to have VOC's classes."""


def class_findings(per_class: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """What is suspicious about classes, as name and message; classes without an image share one.

    Args:
        per_class: Number of images of each class.
    """
    misspelled = dict(_misspelled(per_class))
    yield from misspelled.items()
    median = statistics.median(per_class.values()) if per_class else 0
    empty: list[str] = []
    for name, count in per_class.items():
        if name in misspelled:
            continue
        if count == 0:
            empty.append(name)
        elif count < FEW and median >= 10 * max(count, 1):
            images = counted(count, "image")
            yield name, f"has {images}, and the classes' median is {median:g}: too few to learn or score it"
    if len(empty) == 1:
        yield (
            empty[0],
            "has 0 images: it cannot be learnt or scored; leave it out of data.classes if it is not wanted",
        )
    elif empty:
        yield (
            f"{len(empty)} classes",
            "have 0 images: they cannot be learnt or scored; leave those out of data.classes that are not wanted: "
            + ", ".join(empty),
        )


def _misspelled(per_class: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    known = set(VOC_CLASSES) & set(per_class)
    voc_like = len(known) >= 3 and len(known) >= VOC_SHARE * len(per_class)
    for name, count in per_class.items():
        others = [
            other
            for other, more in per_class.items()
            if other != name
            and _alike(name, other)
            and (_is_rare(count, more) or (_are_one_word(name, other) and (count, name) < (more, other)))
        ]
        if not others and voc_like and name not in VOC_CLASSES:
            others = [other for other in VOC_CLASSES if other not in per_class and _alike(name, other)]
        if others:
            there = f" ({counted(per_class[others[0]], 'image')})" if others[0] in per_class else ", a class of VOC"
            images = counted(count, "image")
            yield name, f"is probably a misspelling of {others[0]}{there}: it has {images}; rename it if it is"


def _is_rare(count: int, more: int) -> bool:
    """Return whether a class has so few images beside another that its name may be a slip of the pen."""
    return count <= (RARE_IN_FEW if count <= FEW_RARE else RARE) * more


def _alike(name: str, other: str) -> bool:
    if _are_one_word(name, other):
        return True
    one, two = _plain(name), _plain(other)
    if min(len(one), len(two)) < SHORTEST or re.sub(r"\d", "", one) == re.sub(r"\d", "", two):
        return False  # names that differ in numbers alone are numbered
    if _differ_by_a_swap(one, two):
        return True
    return difflib.SequenceMatcher(None, one, two, autojunk=False).ratio() >= SIMILARITY


def _are_one_word(name: str, other: str) -> bool:
    """Return whether names differ in case, spaces or number alone: `Cats` and `cat`, `pony` and `ponies`."""
    one, two = sorted((_plain(name), _plain(other)), key=len)
    plurals = {one, f"{one}s", f"{one}es", f"{one[:-1]}ies" if one.endswith("y") else one}
    return two in plurals if len(one) >= SHORTEST_WORD else one == two


def _differ_by_a_swap(one: str, two: str) -> bool:
    """Return whether two neighbouring letters are swapped, and all others are the same: `hrose` and `horse`."""
    places = [at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    if len(one) != len(two) or len(places) != 2 or places[1] != places[0] + 1:
        return False
    return one[places[0] : places[1] + 1] == two[places[0] : places[1] + 1][::-1]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())
