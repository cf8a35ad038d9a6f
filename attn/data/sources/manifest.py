"""A table of images, CSV or Parquet, with the locations of their files and their annotations."""

from __future__ import annotations

__all__ = ["ManifestConfig"]

import csv
import difflib
import io
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from pydantic import model_validator

from attn.config.base import Location, is_remote
from attn.data.cells import path_of, text_of
from attn.data.chosen_classes import MASK_HINT, check_negatives, choose_classes, mask_order
from attn.data.classes import first_names
from attn.data.names import normalize_name, sort_class_names
from attn.data.sample import Box, Record, make_box
from attn.data.source import FileSource, Source, SourceConfig, raise_all, require_images
from attn.errors import DataError
from attn.files.locations import FileFault, parse_error_text, read_named, within
from attn.files.packed import MAX_COLUMNS, parquet_rows
from attn.parsing import load_json

COLUMNS = ("image", "labels", "mask", "boxes", "saliency", "id", "split")
MIN_SIMILARITY = 0.75
"""A column's name that is at least this similar to a known one is considered misspelled."""
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""Other separators that spreadsheets write into CSV files, depending on the locale."""
EXAMPLE = '[{"label": "cat", "box": [left, top, right, bottom]}]'
Row = dict[str, Any]


class ManifestConfig(SourceConfig):
    """A table with one row per image.

    Columns: `image` (a path relative to `root`, an absolute path, or an `s3://` URI) and `labels` (class names
    separated by `|`, or a list). Optional columns: `mask`, `saliency`, `boxes` (JSON: `[{"label": "cat", "box": [left,
    top, right, bottom]}]`), `id` (default: the image's path without its extension) and `split`. Names may be numbers.

    Attributes:
        manifest: The table, `.csv` or `.parquet`.
        split: Use rows with this value in the column `split`; `all`: the whole table. Without that column all rows
            belong to `train`.
        root: Base of relative paths; None: the table's folder.
        classes: Class names in order; None: all classes in the table, sorted, numbers numerically. An image that shows
            only others is left out; in masks others are background.
        negatives: With `classes`: keep images that show only other classes, without a label.
        mask_classes: Names of the values 1, 2, ... of the masks, also of classes that `classes` leaves out or that no
            image is of: their pixels are background. None: `classes`, which must then be all.
    """

    source: Literal["manifest"] = "manifest"
    manifest: Location
    root: Location | None = None
    classes: tuple[str, ...] | None = None
    negatives: bool = False
    mask_classes: tuple[str, ...] | None = None

    _check_negatives = model_validator(mode="after")(check_negatives)

    def open(self) -> Source:
        """Read the table; no image is read.

        Raises:
            DataError: The table is broken or lacks the split; lists the faulty rows.
        """
        return self._open(("image", "labels"))

    def open_unlabelled(self) -> Source:
        return self._open(("image",))

    def _open(self, needed: Sequence[str]) -> Source:
        rows = _read(self.manifest, needed)
        if self.classes is None and "labels" not in rows[0]:
            raise DataError(f"{self.manifest} has no column 'labels' to derive the classes from: set data.classes")
        given = tuple(map(normalize_name, self.classes)) if self.classes else None
        masked = None if self.mask_classes is None else tuple(map(normalize_name, self.mask_classes))
        labels, faults = _labels_of(rows)
        raise_all(faults, self.manifest)
        there = sort_class_names(name for names in labels.values() for name in names)
        at = _rows_of_classes(labels)
        classes = mask_order(there, given, masked, masks="mask" in rows[0], places=at, where=self.manifest)
        numbers = {name: number for number, name in enumerate(classes)}
        records, faults = list[Record](), list[str]()
        for position in self._rows_of_split(rows):
            if position not in labels:  # told above
                continue
            try:
                record = self._record(rows[position], labels[position], numbers)
                records.append(replace(record, entry=f"row {position + 1}"))
            except DataError as error:
                faults.append(f"row {position + 1}: {error}")
        raise_all(faults, self.manifest)
        records.sort(key=lambda record: record.image_id)
        require_images(records, self.on_error, self.manifest)
        whole = FileSource(classes, records, self.on_error, max_pixels=self.max_pixels, mask_hint=MASK_HINT)
        return choose_classes(whole, there if given is None else given, negatives=self.negatives)

    def _rows_of_split(self, rows: list[Row]) -> list[int]:
        splits, faults = list[str | None](), list[str]()
        for number, row in enumerate(rows, start=1):
            try:
                splits.append(_cell(row, "split"))
            except DataError as error:
                splits.append(None)
                faults.append(f"row {number}: {error}")
        raise_all(faults, self.manifest)
        if self.split == "all" or (self.split == "train" and not any(splits)):
            return list(range(len(rows)))
        chosen = [number for number, split in enumerate(splits) if split == self.split]
        if not chosen:
            have = (
                f"it has {first_names(sorted(set(filter(None, splits))))}"
                if any(splits)
                else "it has no column 'split'"
            )
            raise DataError(
                f"{self.manifest}: no row of split {self.split!r}; {have}. data.split=all uses every row; "
                "validation.split=null trains without validation"
            )
        return chosen

    def _record(self, row: Row, names: list[str], numbers: Mapping[str, int]) -> Record:
        image = self._location(row, "image")
        if image is None:
            raise DataError("the column 'image' is empty")
        return Record(
            image_id=_cell(row, "id") or self._id_of(image),
            labels=tuple(sorted({numbers[name] for name in names})),
            image=image,
            mask=self._location(row, "mask"),
            saliency=self._location(row, "saliency"),
            boxes=_boxes(row.get("boxes"), numbers),
        )

    @property
    def _base(self) -> str:
        return self.root or posixpath.dirname(self.manifest)

    def _location(self, row: Row, column: str) -> str | None:
        try:
            text = path_of(row.get(column))
        except DataError as error:
            raise DataError(f"{column}: {error}") from None
        if text is None or is_remote(text):
            return text
        return os.path.normpath(text) if os.path.isabs(text) else within(self._base, text, column)

    def _id_of(self, image: str) -> str:
        """The image's path without its extension: relative to the root if it is below it, else without leading `/`."""
        below = image.removeprefix(self._base.rstrip("/") + "/").removeprefix("s3://").lstrip("/")
        return posixpath.splitext(below)[0]


def _read(location: str, needed: Sequence[str]) -> list[Row]:
    data = read_named(location)
    try:
        rows = parquet_rows(data) if data.startswith(b"PAR1") else _read_csv(data, location)
    except (ValueError, OSError, csv.Error) as error:
        why = parse_error_text(error) if isinstance(error, UnicodeDecodeError) else error
        raise FileFault(location, f"is not a readable CSV or Parquet table ({why})") from None
    if not rows:
        raise FileFault(location, "has no rows")
    names = list(rows[0])
    lacking = [column for column in needed if column not in names]
    misspelled = {
        name: near[0]
        for name in names
        if name not in COLUMNS
        and (near := difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=MIN_SIMILARITY))
    }
    corrections = [f"{name!r} must be {column!r}" for name, column in misspelled.items() if column not in names]
    if lacking or corrections:
        problem = f"has no column {' or '.join(lacking)}; " if lacking else ""
        # Do not quote unknown columns: a file that is not such a table may be confidential.
        there = ", ".join(name for name in names if name in COLUMNS)
        problem += f"of its {len(names)} columns these are known: {there or 'none'}; possible are {', '.join(COLUMNS)}"
        corrections += ["if you meant another column, rename it"] if corrections else []
        if len(names) == 1 and (
            separator := next((separator for separator in OTHER_SEPARATORS if separator in names[0]), None)
        ):
            problem += f"; cells are parted by {OTHER_SEPARATORS[separator]} there: save the table with commas"
        raise FileFault(location, "; ".join([problem, *corrections]))
    return rows


def _read_csv(data: bytes, location: str) -> list[Row]:
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    header = [name.strip() for name in next(lines, [])]
    if len(header) > MAX_COLUMNS:
        raise FileFault(location, f"has {len(header)} columns, more than {MAX_COLUMNS}: remove unused columns")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        shown = [name for name in twice if name in COLUMNS] or ["of one name"]
        raise FileFault(location, f"has two columns {', '.join(shown)}")
    rows, faults = list[Row](), list[str]()
    for cells in filter(None, lines):
        rows.append(dict.fromkeys(header, "") | dict(zip(header, cells, strict=False)))
        if any(cells[len(header) :]):
            faults.append(
                f"row {len(rows)} has {len(cells)} cells, but the header has {len(header)}; put a cell with a comma in "
                'double quotes (")'
            )
    raise_all(faults, location)
    return rows


def _cell(row: Row, column: str) -> str:
    try:
        return text_of(row.get(column))
    except DataError as error:
        raise DataError(f"{column}: {error}") from None


def _labels_of(rows: Sequence[Row]) -> tuple[dict[int, list[str]], list[str]]:
    """The class names of every row without a fault, by its position, and all faults."""
    labels: dict[int, list[str]] = {}
    faults: list[str] = []
    for position, row in enumerate(rows):
        try:
            labels[position] = _labels(row.get("labels"))
        except DataError as error:
            faults.append(f"row {position + 1}: labels: {error}")
    return labels, faults


def _rows_of_classes(labels: Mapping[int, Sequence[str]]) -> dict[str, str]:
    """For each class, the first row with it and the number of others: `row 3 and 2 more`."""
    rows: dict[str, list[int]] = {}
    for position, names in labels.items():
        for name in set(names):
            rows.setdefault(name, []).append(position + 1)
    return {
        name: f"row {numbers[0]}" + (f" and {len(numbers) - 1} more" if len(numbers) > 1 else "")
        for name, numbers in rows.items()
    }


def _labels(value: Any) -> list[str]:
    if isinstance(value, str):
        if value.strip().startswith("[") and value.strip().endswith("]"):
            raise DataError("a list as text; write class names separated by |, such as cat|dog")
        value = value.split("|")
    parts = value if isinstance(value, list) else [value]
    return [normalize_name(name) for part in parts if (name := text_of(part))]


def _boxes(value: Any, numbers: Mapping[str, int]) -> tuple[tuple[int, Box], ...]:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return ()
    try:
        entries = load_json(value) if isinstance(value, str) else value
        results = [(normalize_name(text_of(entry["label"])), _box(entry["box"])) for entry in entries]
    except (ValueError, TypeError, KeyError, OverflowError, DataError):
        raise DataError(f"boxes is not valid; expected JSON such as {EXAMPLE} with finite edges") from None
    if unknown := [label for label, _ in results if label not in numbers]:
        raise DataError(f"a box has the unknown class {unknown[0]!r}")
    return tuple((numbers[label], box) for label, box in results)


def _box(edges: Any) -> Box:
    if not isinstance(edges, list):  # a string could be unpacked, too
        raise TypeError("a box is a list")
    return make_box(*cast("list[Any]", edges))
