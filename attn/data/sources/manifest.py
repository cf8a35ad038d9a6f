"""A table of images, CSV or Parquet, with the places of their files and what is known of them."""

from __future__ import annotations

__all__ = ["ManifestConfig"]

import csv
import difflib
import io
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from attn.config.base import Location, is_remote
from attn.data.cells import path_of, text_of
from attn.data.classes import some_names
from attn.data.names import in_order, normal
from attn.data.sample import Box, Record, make_box
from attn.data.source import FileSource, SourceConfig, raise_all, refuse_missing
from attn.errors import DataError
from attn.files.locations import FileFault, parse_error_text, read_bytes, within
from attn.files.packed import MAX_COLUMNS, parquet_rows
from attn.parsing import load_json

COLUMNS = ("image", "labels", "mask", "boxes", "saliency", "id", "split")
NEAR = 0.75
"""From which similarity on a column's name is taken for a mistyped one."""
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""What spreadsheets also write between the cells of a CSV file, some of them by the machine's language."""
EXAMPLE = '[{"label": "cat", "box": [left, top, right, bottom]}]'
Row = dict[str, Any]


class ManifestConfig(SourceConfig):
    """One row an image.

    Columns: `image` (a path relative to `root`, an absolute one, or an `s3://` URI), `labels` (class names parted by
    `|`, or a list); and where known `mask`, `saliency`, `boxes` (JSON: `[{"label": "cat", "box": [left, top, right,
    bottom]}]`), `id` (else the image's path without its extension) and `split`. Names may be numbers.

    Attributes:
        manifest: The table, `.csv` or `.parquet`.
        split: Which rows, by the column `split`; `all` for the whole table. Without it all rows are of `train`.
        root: What relative paths start from; the table's own folder where it is not given.
        classes: Their names in order; all that the table names, sorted, where it is not given: numbers by value.
    """

    source: Literal["manifest"] = "manifest"
    manifest: Location
    root: Location | None = None
    classes: tuple[str, ...] | None = None

    def open(self) -> FileSource:
        """Read the table; no image is read.

        Raises:
            DataError: The table is broken or lacks the split; lists the rows at fault.
        """
        return self._open(("image", "labels"))

    def open_unlabelled(self) -> FileSource:
        return self._open(("image",))

    def _open(self, needed: Sequence[str]) -> FileSource:
        rows = _read(self.manifest, needed)
        if self.classes is None and "labels" not in rows[0]:
            raise DataError(f"{self.manifest} has no column 'labels' to tell the classes: name them by data.classes")
        named, faults = _labels_of(rows, self.classes)
        raise_all(faults, self.manifest)
        classes = tuple(map(normal, self.classes or ())) or in_order(name for names in named for name in names)
        numbers = {name: number for number, name in enumerate(classes)}
        records = []
        for position in self._rows_of_split(rows):
            try:
                records.append(self._record(rows[position], named[position], numbers))
            except DataError as error:
                faults.append(f"row {position + 1}: {error}")
        raise_all(faults, self.manifest)
        records.sort(key=lambda record: record.image_id)
        refuse_missing(records, self.on_error, self.manifest)
        return FileSource(classes, records, self.on_error, max_pixels=self.max_pixels)

    def _rows_of_split(self, rows: list[Row]) -> list[int]:
        splits = []
        for number, row in enumerate(rows, start=1):
            try:
                splits.append(_cell(row, "split"))
            except DataError as error:
                raise FileFault(self.manifest, f"row {number}: {error}") from None
        if self.split == "all" or (self.split == "train" and not any(splits)):
            return list(range(len(rows)))
        chosen = [number for number, split in enumerate(splits) if split == self.split]
        if not chosen:
            have = f"it has {some_names(sorted(set(splits) - {''}))}" if any(splits) else "it has no column 'split'"
            raise DataError(
                f"{self.manifest}: no row of split {self.split!r}; {have}. data.split=all takes every row; "
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
        """The image's path below the root, or below the file system's or the object store's, without its extension."""
        below = image.removeprefix(self._base.rstrip("/") + "/").removeprefix("s3://").lstrip("/")
        return posixpath.splitext(below)[0]


def _read(location: str, needed: Sequence[str]) -> list[Row]:
    data = read_bytes(location)
    try:
        rows = parquet_rows(data) if data.startswith(b"PAR1") else _read_csv(data, location)
    except (ValueError, OSError, csv.Error) as error:
        why = parse_error_text(error) if isinstance(error, UnicodeDecodeError) else error
        raise FileFault(location, f"is not a readable CSV or Parquet table ({why})") from None
    if not rows:
        raise FileFault(location, "has no rows")
    names = list(rows[0])
    lacking = [column for column in needed if column not in names]
    mistyped = {
        name: near[0]
        for name in names
        if name not in COLUMNS and (near := difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=NEAR))
    }
    meant = [f"{name!r} must be {column!r}" for name, column in mistyped.items() if column not in names]
    if lacking or meant:
        problem = f"has no column {' or '.join(lacking)}; " if lacking else ""
        # A file that is no such table may be anything, and is not quoted; what resembles a column's name is.
        there = ", ".join(name for name in names if name in COLUMNS)
        problem += f"of its {len(names)} columns these are known: {there or 'none'}; there may be {', '.join(COLUMNS)}"
        meant += ["if that is not meant, call it something else"] if meant else []
        if len(names) == 1 and (parting := next((sign for sign in OTHER_SEPARATORS if sign in names[0]), None)):
            problem += f"; cells are parted by {OTHER_SEPARATORS[parting]} there: save the table with commas"
        raise FileFault(location, "; ".join([problem, *meant]))
    return rows


def _read_csv(data: bytes, location: str) -> list[Row]:
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    header = [name.strip() for name in next(lines, [])]
    if len(header) > MAX_COLUMNS:
        raise FileFault(location, f"has {len(header)} columns, where at most {MAX_COLUMNS} are read: leave out others")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        shown = [name for name in twice if name in COLUMNS] or ["of one name"]
        raise FileFault(location, f"has two columns {', '.join(shown)}")
    rows: list[Row] = []
    for cells in filter(None, lines):
        rows.append(dict.fromkeys(header, "") | dict(zip(header, cells, strict=False)))
        if any(cells[len(header) :]):
            problem = (
                f'row {len(rows)} has {len(cells)} cells, the header {len(header)}; a cell with a comma needs " around'
            )
            raise FileFault(location, problem)
    return rows


def _cell(row: Row, column: str) -> str:
    try:
        return text_of(row.get(column))
    except DataError as error:
        raise DataError(f"{column}: {error}") from None


def _labels_of(rows: Sequence[Row], classes: Sequence[str] | None) -> tuple[list[list[str]], list[str]]:
    """The class names of every row, and what is wrong with them."""
    known = None if classes is None else {normal(name) for name in classes}
    named: list[list[str]] = []
    faults: list[str] = []
    for number, row in enumerate(rows, start=1):
        try:
            names = _labels(row.get("labels"))
        except DataError as error:
            names = []
            faults.append(f"row {number}: labels: {error}")
        if known is not None:
            faults += [f"row {number} has the unknown class {name!r}" for name in names if name not in known]
        named.append(names)
    return named, faults


def _labels(value: Any) -> list[str]:
    if isinstance(value, str):
        if value.strip().startswith("[") and value.strip().endswith("]"):
            raise DataError("a list as text; write class names parted by |, such as cat|dog")
        value = value.split("|")
    parts = value if isinstance(value, list) else [value]
    return [normal(name) for part in parts if (name := text_of(part))]


def _boxes(value: Any, numbers: Mapping[str, int]) -> tuple[tuple[int, Box], ...]:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return ()
    try:
        entries = load_json(value) if isinstance(value, str) else value
        found = [(normal(text_of(entry["label"])), _box(entry["box"])) for entry in entries]
    except (ValueError, TypeError, KeyError, OverflowError, DataError):
        raise DataError(f"boxes is not valid; expected JSON such as {EXAMPLE}, of finite edges") from None
    if strange := [label for label, _ in found if label not in numbers]:
        raise DataError(f"a box has the unknown class {strange[0]!r}")
    return tuple((numbers[label], box) for label, box in found)


def _box(edges: Any) -> Box:
    if not isinstance(edges, list):  # a text has parts too
        raise TypeError("a box is a list")
    return make_box(*cast("list[Any]", edges))
