"""What the pages of maps show, as the process that reads it sends it."""

from __future__ import annotations

__all__ = ["THRESHOLDS", "Collection", "ImageView", "MapIndex", "Ranked", "VersionView"]

from dataclasses import dataclass

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Thresholds at which images are ranked, as shares of a map's maximum."""


@dataclass(frozen=True)
class Collection:
    """The maps of one store, and the run whose data they are of.

    Attributes:
        identity: Hash of the store's definition: another store may come to lie in its place.
        run: Folder of the run; None: the run in whose folder the store lies, if it does.
        cues: Folders in which the images' cues may be, the newest first; `masks` likewise.
    """

    uri: str
    identity: str = ""
    run: str | None = None
    cues: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class VersionView:
    """A version that readers get; the epoch counts from 1, 0 where it is of none."""

    version: int
    run: str
    epoch: int


@dataclass(frozen=True)
class MapIndex:
    """What a store holds.

    Attributes:
        classes: Names by class index.
        images: Number of images with a row of each class.
        versions: The oldest first.
        fault: Why there are no images to show with the maps; empty if there are.
    """

    uri: str
    grid: tuple[int, int]
    classes: dict[int, str]
    images: dict[int, int]
    versions: list[VersionView]
    fault: str


@dataclass(frozen=True)
class Ranked:
    """Scores of one image and class, in the order of `THRESHOLDS`.

    Attributes:
        scores: IoU with the mask; without one, with what is salient; None: it has neither.
        by_mask: Whether they are of the mask.
    """

    image_id: str
    scores: tuple[float, ...] | None
    by_mask: bool


@dataclass(frozen=True)
class ImageView:
    """One image.

    Attributes:
        classes: Class indices of its rows.
        size: (height, width).
        parts: Which of `truth`, `saliency`, `cue` and `mask` there are.
    """

    image_id: str
    title: str
    classes: tuple[int, ...]
    size: tuple[int, int]
    parts: tuple[str, ...]
