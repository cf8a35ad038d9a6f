"""The interface of a data source, and the common parts of sources that read files."""

from __future__ import annotations

__all__ = [
    "FileSource",
    "OnError",
    "Source",
    "SourceConfig",
    "collected_faults",
    "files_for",
    "fingerprint",
    "find_masks",
    "map_in_threads",
    "raise_all",
    "require_folder",
    "require_images",
    "require_unique",
    "validation_split",
]

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field

from attn.config.base import Variant
from attn.data.decode import MAX_PIXELS, PIXEL_LIMIT, read_mask, read_photograph, read_saliency
from attn.data.names import name_fault, normalize_name, text_fault
from attn.data.orientation import orient_boxes
from attn.data.sample import Example, Record
from attn.errors import DataError
from attn.files.locations import FileFault, join, list_files, list_folders, missing_location, name_of, stem_of

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
        classes: Class names; a label is an index into them.
        records: Records in a fixed order.
        on_error: Whether an unreadable image stops training or is skipped.
        exclusive: Every image has exactly one class by design of the data, not by chance. Then training uses softmax
            and cross-entropy, and top-1 accuracy is the score.
    """

    classes: tuple[str, ...]
    records: Sequence[Record]
    on_error: OnError
    exclusive: bool

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        """Decode one image and, if requested and known, its mask and saliency map.

        Raises:
            DataError: A file is missing or broken; the message names it.
        """
        ...

    def fingerprint(self) -> str:
        """A hash of the names and labels, independent of their order and location."""
        ...


class SourceConfig(Variant, tag="source"):
    """Source of images; `source` selects the kind.

    Attributes:
        split: Which part of the data to use.
        on_error: What to do about a missing or broken file: stop the run, or skip, count and log it.
        single_label: Keep only images with exactly one class.
        exclusive: Whether every image has exactly one class by design of the data. Then GAIN, Grad-CAM and ICASC train
            by softmax and cross-entropy, and accuracy is scored; an image with another number of labels is an error.
            None: as the source has it; a folder for each class and the sets for classification are exclusive.
        max_pixels: Maximum pixels of an image; a larger one counts as broken. Limits the memory for decoding.
    """

    split: str = "train"
    on_error: OnError = "raise"
    single_label: bool = False
    exclusive: bool | None = None
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=PIXEL_LIMIT)

    @classmethod
    def default_validation_split(cls, split: str) -> str:
        """The split that a training on a split is validated on by default."""
        return "val"

    def build(self, *, labels: bool = True) -> Source:
        """The images of the split. Image files are not read yet.

        Args:
            labels: Require labels of every image. If false, images may lack labels, as in a test set.

        Raises:
            DataError: Depends on the kind of source.
        """
        from attn.data.view import declared_exclusive, single_labelled  # a view is itself a source

        if self.single_label:
            source = single_labelled(self.open())
        else:
            source = self.open() if labels else self.open_unlabelled()
        return source if self.exclusive is None else declared_exclusive(source, self.exclusive, labels=labels)

    def open(self) -> Source:
        """The source with all images of the split."""
        raise TypeError(f"{type(self).__name__} does not implement `open`")

    def open_unlabelled(self) -> Source:
        """Like `open`, but images may lack labels. Sources that can lack labels override it."""
        return self.open()


def validation_split(data: Mapping[str, Any]) -> str:
    """The split that data is validated and scored on by default.

    Args:
        data: Plain values of a `SourceConfig`, perhaps without `split`.
    """
    source = data.get(SourceConfig.tag)
    member = SourceConfig.members.get(source if isinstance(source, str) else "", SourceConfig)
    split = data.get("split", member.model_fields["split"].default)
    return member.default_validation_split(split if isinstance(split, str) else "")


class FileSource:
    """A source with images, masks and saliency maps in files.

    Args:
        faults: By image id, the error that `load` raises for an image, such as unreadable labels.
        exclusive: See `Source`.
        max_pixels: See `SourceConfig`.
        mask_hint: What to do about a mask's index that is not a class.
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
        mask_hint: str = "",
    ) -> None:
        self.classes = tuple(classes)
        self.records: Sequence[Record] = tuple(records)
        self.on_error: OnError = on_error
        self.max_pixels = max_pixels
        self.exclusive = exclusive
        self.mask_hint = mask_hint
        self._faults = dict(faults or {})
        if not self.classes:
            raise DataError("the data has no classes")
        if len(self.classes) > MAX_CLASSES and any(record.mask for record in self.records):
            raise DataError(f"{len(self.classes)} classes; 8-bit masks allow only {MAX_CLASSES}: do not use the masks")
        require_unique(self.classes, self.classes, "class")
        raise_all([f"{what} {name!r} {fault}" for what, name, fault in _name_faults(self.classes, self.records)])
        require_unique([record.image_id for record in self.records], list(map(_location, self.records)), "image id")

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
            record = orient_boxes(record, size, orientation)
        except DataError as fault:  # raised only if boxes are used
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
        """An image's mask in its upright frame. Sources without mask files override this."""
        return read_mask(location, size, len(self.classes), orientation=orientation, hint=self.mask_hint)

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)


def _name_faults(classes: Sequence[str], records: Sequence[Record]) -> Iterator[tuple[str, str, str]]:
    """Names that cannot be file names of cues, masks or maps, checked before training."""
    for name in classes:
        if fault := text_fault(name):
            yield "class", name, fault
    for record in records:
        if fault := name_fault(record.image_id):
            yield (
                "image id",
                record.image_id,
                f"{fault}; rename the file, or give it another id in a table's column 'id'",
            )
        elif record.image and (fault := text_fault(record.image)):
            yield "image", record.image, f"{fault}; rename the file"


def _location(record: Record) -> str | None:
    """An image's file, with the entry that lists it."""
    return record.image if record.entry is None else f"{record.image or 'no file'} ({record.entry})"


def fingerprint(classes: Sequence[str], records: Iterable[Record], *, difficult: bool = False) -> str:
    """SHA-256 of class names and of every image's name and labels, independent of the images' order.

    Args:
        difficult: Include the classes of which an image shows only difficult objects.
    """
    lines = sorted(
        f"{record.image_id}\t{','.join(map(str, record.labels))}"
        + (f"\t{','.join(map(str, record.difficult or ()))}" if difficult else "")
        for record in records
    )
    return hashlib.sha256("\n".join(["\t".join(classes), *lines]).encode()).hexdigest()


def require_unique(names: Sequence[str], locations: Sequence[str | None], what: str) -> None:
    """Check that names are unique.

    Args:
        locations: Where each name was found.

    Raises:
        DataError: Names both locations of a repeated name.
    """
    first: dict[str, str | None] = {}
    faults = []
    for name, location in zip(names, locations, strict=True):
        if name in first:
            faults.append(f"{what} {name!r} is used for both {first[name]} and {location}")
        first.setdefault(name, location)
    raise_all(faults)


class CollectedFaults(list[str]):
    """Faults in place of errors; `unnumbered` are the classes of which these leave open the value in masks."""

    unnumbered: frozenset[str] = frozenset()


_collected: ContextVar[CollectedFaults | None] = ContextVar("collected", default=None)


@contextmanager
def collected_faults() -> Generator[CollectedFaults]:
    """Let sources that are built in the body leave out faulty rows and entries, and collect what is wrong with them."""
    results = CollectedFaults()
    token = _collected.set(results)
    try:
        yield results
    finally:
        _collected.reset(token)


def raise_all(faults: Sequence[str], where: str = "", *, unnumbered: Iterable[str] = ()) -> None:
    """Raise one error for all faults, if there are any.

    Within `collected_faults` nothing is raised, and the caller has to go on without the faulty rows. `unnumbered` are
    the classes of which the faults leave open the value in masks.

    Raises:
        DataError: Lists the first few faults and the number of others.
    """
    if not faults:
        return
    head = f"{where}: " if where else ""
    if (result := _collected.get()) is not None:
        result += [head + fault for fault in faults]
        result.unnumbered |= frozenset(unnumbered)
    else:
        raise DataError(head + _first_few(faults, "; "))


def require_images(records: Sequence[Record], on_error: OnError, where: str) -> None:
    """Check before training that all listed images exist, with one listing per folder.

    Raises:
        DataError: Lists the first few missing images. With `on_error="skip"` they are only logged, unless all are
            missing.
    """
    folders: dict[str, set[str]] = {}
    missing: list[Record] = []
    for record in records:
        if not (image := record.image):
            continue
        folder = image[: -len(name_of(image))]
        if folder not in folders:
            folders[folder] = set(list_files(folder))
        if name_of(image) not in folders[folder]:
            missing.append(record)
    if not missing:
        return
    are = "is" if len(missing) == 1 else "are"
    listed = _first_few([str(_location(record)) for record in missing])
    text = f"{where}: {len(missing)} of {len(records)} images {are} missing: {listed}"
    if on_error == "raise" or len(missing) == len(records):
        first = missing[0].image or ""
        hint = _similar_file_note(name_of(first), folders[first[: -len(name_of(first))]])
        way = "Put them there" + (
            ", or set data.on_error=skip to train without them" if len(missing) < len(records) else ""
        )
        raise DataError(f"{text}{hint}. {way}")
    log.warning("%s; they are skipped", text)


def _similar_file_note(name: str, there: Iterable[str]) -> str:
    """For a message about a missing file: an existing file with nearly the same name."""
    for other in sorted(there):
        if normalize_name(other).casefold() == normalize_name(name).casefold():
            same = other.casefold() == name.casefold()
            return f" (there is {other!r}: {'upper and lower case' if same else 'the Unicode form (NFC, NFD)'} differ)"
        if stem_of(other) == stem_of(name):
            return f" (there is {other!r})"
    return ""


def files_for(folder: str | None, names: Sequence[str], suffix: str = ".png") -> list[str | None]:
    """The file of each name in a folder; None if there is none. Names may contain folders."""
    if folder is None:
        return [None] * len(names)
    there: dict[str, set[str]] = {}
    results: list[str | None] = []
    for location in (join(folder, name + suffix) for name in names):
        file = name_of(location)
        parent = location[: -len(file)]
        if parent not in there:
            there[parent] = set(list_files(parent))
        results.append(location if file in there[parent] else None)
    return results


def find_masks(
    folder: str, names: Sequence[str], others: Callable[[], Iterable[str]], *, given: str
) -> list[str | None]:
    """The mask of each image in a folder from the config; None if an image has none.

    Args:
        names: Names of a split's images, relative to the folder and without suffix.
        others: Returns the names of the whole data set, to tell a wrong folder from a split without masks.
        given: The config's value, for messages.

    Raises:
        FileFault: The folder does not exist, or has no mask of any image of the data set.
    """
    result = files_for(folder, names)
    if any(result):
        return result
    require_folder(folder, "data.masks", given)
    if not any(files_for(folder, sorted(set(others()) - set(names)))):
        problem = f"has no mask of any image (data.masks={given}); expected files such as {names[0]}.png"
        raise FileFault(folder, problem)
    log.info("%s: none of the split's %d images has a mask in it", folder, len(names))
    return result


def require_folder(folder: str, field: str, given: str) -> None:
    """Check that a folder from the config exists and is not empty.

    Raises:
        FileFault: It does not; the message has the resolved location.
    """
    if not list_files(folder) and not list_folders(folder):
        raise missing_location(field, given, folder)


def map_in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply an I/O-bound function to every item in threads; results are in the order of the items."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def _first_few(items: Sequence[str], separator: str = ", ") -> str:
    rest = len(items) - SHOWN
    return separator.join(items[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
