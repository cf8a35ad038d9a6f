"""Where images come from: the contract of a source, and what all sources on files have in common."""

from __future__ import annotations

__all__ = [
    "FileSource",
    "OnError",
    "Source",
    "SourceConfig",
    "beside",
    "fingerprint",
    "masks_in",
    "parallel",
    "raise_all",
    "refuse_absent",
    "refuse_missing",
    "same_labels",
    "unique",
]

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field

from attn.config.base import Variant
from attn.data.decode import MAX_PIXELS, MOST_PIXELS, read_mask, read_photograph, read_saliency
from attn.data.names import name_fault, normal, text_fault
from attn.data.orientation import turn_boxes
from attn.data.sample import Example, Record
from attn.errors import DataError
from attn.files.locations import FileFault, join, list_files, list_folders, missing_folder, name_of, stem_of

OnError = Literal["raise", "skip"]
MAX_CLASSES = 254
SHOWN = 8
THREADS = 8

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)


class Source(Protocol):
    """Images with stable names and labels.

    Attributes:
        classes: Names; a label is a position in them.
        records: In a fixed order.
        on_error: Whether training goes on without an image that cannot be read.
        exclusive: Whether every image has exactly one class because the data is made so, and not by chance; classes
            are then told apart by softmax and cross-entropy, and scored by top-1 accuracy.
    """

    classes: tuple[str, ...]
    records: Sequence[Record]
    on_error: OnError
    exclusive: bool

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        """Decode one image and what else of it is asked for and known.

        Raises:
            DataError: A file is missing or broken; the text names it.
        """
        ...

    def fingerprint(self) -> str:
        """A hash of the names and labels, whatever their order and place."""
        ...


class SourceConfig(Variant, tag="source"):
    """Where images come from; `source` chooses the kind.

    Attributes:
        split: Which part of the data.
        on_error: What a missing or broken file does: stop the run, or be passed over, counted and logged.
        single_label: Keep only the images that have exactly one class.
        max_pixels: Of an image; a larger one counts as broken. It bounds the memory that a few bytes can fill.
    """

    split: str = "train"
    on_error: OnError = "raise"
    single_label: bool = False
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=MOST_PIXELS)

    def build(self, *, labels: bool = True) -> Source:
        """The images of the split; where they are files, none of them is read yet.

        Args:
            labels: Whether the labels of every image are needed; if not, images may lack them, as in a test set.

        Raises:
            DataError: See the kind of source.
        """
        from attn.data.view import single_labelled  # a view is itself a source

        if self.single_label:
            return single_labelled(self.open())
        return self.open() if labels else self.open_unlabelled()

    def open(self) -> Source:
        """The source itself, all of its images."""
        raise TypeError(f"{type(self).__name__} does not say how to open its source")

    def open_unlabelled(self) -> Source:
        """As `open`, where labels may be missing; only of a kind of source that can lack them is it something else."""
        return self.open()


class FileSource:
    """Records whose images, masks and saliency maps are files.

    Args:
        faults: By image id, why an image that could be read is of no use, such as labels that could not be.
        exclusive: See `Source`.
        max_pixels: See `SourceConfig`.
    """

    def __init__(
        self,
        classes: Sequence[str],
        records: Sequence[Record],
        on_error: OnError = "raise",
        faults: Mapping[str, DataError] | None = None,
        *,
        exclusive: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.classes = tuple(classes)
        self.records: Sequence[Record] = tuple(records)
        self.on_error: OnError = on_error
        self.max_pixels = max_pixels
        self.exclusive = exclusive
        self._faults = dict(faults or {})
        if not self.classes:
            raise DataError("the data has no classes")
        if len(self.classes) > MAX_CLASSES and any(record.mask for record in self.records):
            raise DataError(f"{len(self.classes)} classes; masks of 8 bits allow {MAX_CLASSES}: leave the masks out")
        unique(self.classes, self.classes, "class")
        raise_all([f"{what} {name!r} {fault}" for what, name, fault in _name_faults(self.classes, self.records)])
        unique([record.image_id for record in self.records], [record.image for record in self.records], "image id")

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        record = self.records[index]
        if record.image_id in self._faults:
            raise self._faults[record.image_id]
        if record.image is None:
            raise DataError(f"image {record.image_id!r} has no file")
        image, orientation, _ = read_photograph(record.image, self.max_pixels)
        size = (image.shape[0], image.shape[1])
        boxes_fault: DataError | None = None
        try:
            record = turn_boxes(record, size, orientation)
        except DataError as fault:  # of no matter to who does not use them
            boxes_fault = fault
        with_mask, with_saliency = mask and record.mask, saliency and record.saliency
        return Example(
            record,
            image,
            mask=self.read_mask(with_mask, record, size, orientation) if with_mask else None,
            saliency=read_saliency(with_saliency, size, orientation=orientation) if with_saliency else None,
            boxes_fault=boxes_fault,
        )

    def read_mask(self, location: str, record: Record, size: tuple[int, int], orientation: int) -> np.ndarray:
        """An image's mask in its upright frame; a source whose masks are no files of their own makes them here."""
        return read_mask(location, size, len(self.classes), orientation=orientation)

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)


def _name_faults(classes: Sequence[str], records: Sequence[Record]) -> Iterator[tuple[str, str, str]]:
    """What is wrong with names that cues, masks and map stores would choke on hours later."""
    for name in classes:
        if fault := text_fault(name):
            yield "class", name, fault
    for record in records:
        if fault := name_fault(record.image_id):
            yield (
                "image id",
                record.image_id,
                f"{fault}; rename the file, or give it another id by a table's column 'id'",
            )
        elif record.image and (fault := text_fault(record.image)):
            yield "image", record.image, f"{fault}; rename the file"


def fingerprint(classes: Sequence[str], records: Iterable[Record], *, difficult: bool = False) -> str:
    """SHA-256 of class names and of every image's name and labels, in an order of its own.

    Args:
        difficult: Also of the classes of which the images show only difficult objects.
    """
    lines = sorted(
        f"{record.image_id}\t{','.join(map(str, record.labels))}"
        + (f"\t{','.join(map(str, record.difficult or ()))}" if difficult else "")
        for record in records
    )
    return hashlib.sha256("\n".join(["\t".join(classes), *lines]).encode()).hexdigest()


def same_labels(source: Source) -> str | None:
    """What is wrong with labels that are the same for every image: a classifier has nothing to tell apart."""
    kinds = {record.labels for record in source.records}
    if len(kinds) != 1:
        return None
    names = ", ".join(source.classes[label] for label in next(iter(kinds)))
    way = "images of at least two classes" if source.exclusive else "images with and without each class"
    labelled = f"has the label {names} and no other" if names else "has no label"
    return f"every one of the {len(source.records)} images {labelled}: there is nothing to tell apart; give {way}"


def unique(names: Sequence[str], places: Sequence[str | None], what: str) -> None:
    """Refuse a name that stands twice.

    Raises:
        DataError: With the places of both.
    """
    first: dict[str, str | None] = {}
    faults = []
    for name, place in zip(names, places, strict=True):
        if name in first:
            faults.append(f"{what} {name!r} stands for both {first[name]} and {place}")
        first.setdefault(name, place)
    raise_all(faults)


def raise_all(faults: Sequence[str], where: str = "") -> None:
    """Raise one error of all the faults in a list file, if there are any.

    Raises:
        DataError: With the first few, and how many more there are.
    """
    if faults:
        raise DataError((f"{where}: " if where else "") + _some(faults, "; "))


def refuse_missing(records: Sequence[Record], on_error: OnError, where: str) -> None:
    """Look, folder by folder, whether the images that a list names are there, before hours of training find out.

    Raises:
        DataError: With the first few that are not, unless `on_error` is `skip` and some are: then a line in the log.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    for image in (record.image for record in records if record.image):
        folder = image[: -len(name_of(image))]
        if folder not in folders:
            folders[folder] = set(list_files(folder))
        if name_of(image) not in folders[folder]:
            missing.append(image)
    if not missing:
        return
    text = f"{where}: {len(missing)} of {len(records)} images are missing: {_some(missing)}"
    if on_error == "raise" or len(missing) == len(records):
        there = folders[missing[0][: -len(name_of(missing[0]))]]
        hint = _otherwise(name_of(missing[0]), there)
        way = "Put them there" + (
            ", or set data.on_error=skip to go on without them" if len(missing) < len(records) else ""
        )
        raise DataError(f"{text}{hint}. {way}")
    log.warning("%s; they are passed over", text)


def _otherwise(name: str, there: Iterable[str]) -> str:
    """For a message about a missing file: the file that is there under a name that is nearly the same."""
    for other in sorted(there):
        if normal(other).casefold() == normal(name).casefold():
            same = other.casefold() == name.casefold()
            return f" (there is {other!r}: {'upper and lower case' if same else 'the Unicode form (NFC, NFD)'} differ)"
        if stem_of(other) == stem_of(name):
            return f" (there is {other!r})"
    return ""


def beside(folder: str | None, names: Sequence[str], suffix: str = ".png") -> list[str | None]:
    """For each name the file of that name in a folder, None where there is none; a name may lead through folders."""
    if folder is None:
        return [None] * len(names)
    there: dict[str, set[str]] = {}
    found: list[str | None] = []
    for location in (join(folder, name + suffix) for name in names):
        file = name_of(location)
        place = location[: -len(file)]
        if place not in there:
            there[place] = set(list_files(place))
        found.append(location if file in there[place] else None)
    return found


def masks_in(place: str, names: Sequence[str], others: Callable[[], Iterable[str]], *, given: str) -> list[str | None]:
    """For each name its mask in a folder that a config names, None where there is none.

    Args:
        names: Of the images of a split, relative to the folder and without suffix.
        others: Those of the whole data set: it may be another split that has masks.
        given: What the config says.

    Raises:
        FileFault: The folder is not there, or has no mask of any image of the data set.
    """
    found = beside(place, names)
    if any(found):
        return found
    refuse_absent(place, "data.masks", given)
    if not any(beside(place, sorted(set(others()) - set(names)))):
        problem = f"has no mask of any image; data.masks={given} names it. Expected were files such as {names[0]}.png"
        raise FileFault(place, problem)
    log.info("%s: none of the split's %d images has a mask in it", place, len(names))
    return found


def refuse_absent(place: str, field: str, given: str) -> None:
    """Refuse a folder that a config names and that is not there, or empty.

    Raises:
        FileFault: Says where it was looked for.
    """
    if not list_files(place) and not list_folders(place):
        raise missing_folder(field, given, place)


def parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function that waits for files to every item, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def _some(items: Sequence[str], separator: str = ", ") -> str:
    rest = len(items) - SHOWN
    return separator.join(items[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
