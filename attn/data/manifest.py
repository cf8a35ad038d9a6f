"""A table of images, CSV or Parquet, with the places of their files and what is known of them."""

from __future__ import annotations

__all__ = ["ManifestConfig"]

import csv
import io
import json
import os
import posixpath
from collections.abc import Sequence
from typing import Any, Literal, cast

from attn.config.base import Location, is_remote
from attn.data.files import FileFault, read_bytes, within
from attn.data.sample import Box, Record, make_box
from attn.data.source import FileSource, SourceConfig, raise_all, refuse_missing
from attn.errors import DataError

COLUMNS = ("image", "labels", "mask", "boxes", "saliency", "id", "split")
Row = dict[str, Any]


class ManifestConfig(SourceConfig):
    """One row an image.

    Columns: `image` (a path relative to `root`, an absolute one, or an `s3://` URI), `labels` (class names parted by
    `|`, or a list); and where known `mask`, `saliency`, `boxes` (JSON: `[{"label": "cat", "box": [left, top, right,
    bottom]}]`), `id` (else the image's path without its extension) and `split`.

    Attributes:
        manifest: The table, `.csv` or `.parquet`.
        split: Which rows, by the column `split`; `all` for the whole table.
        root: What relative paths start from; the table's own folder where it is not given.
        classes: Their names in order; all that the table names, sorted, where it is not given.
    """

    source: Literal["manifest"] = "manifest"
    manifest: Location
    split: str = "all"
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
        faults: list[str] = []
        named: list[list[str]] = []
        for number, row in enumerate(rows, start=1):
            names = _labels(row.get("labels"))
            if self.classes is not None:
                strange = [name for name in names if name not in self.classes]
                faults += [f"row {number} has the unknown class {name!r}" for name in strange]
            named.append(names)
        raise_all(faults, self.manifest)
        classes = self.classes or tuple(sorted({name for names in named for name in names}))
        wanted = self._rows_of_split(rows)
        records = []
        for number in wanted:
            try:
                records.append(self._record(rows[number], named[number], classes, f"{self.manifest}, row {number + 1}"))
            except DataError as error:
                faults.append(str(error))
        raise_all(faults)
        records.sort(key=lambda record: record.image_id)
        refuse_missing(records, self.on_error, self.manifest)
        return FileSource(classes, records, self.on_error)

    def _rows_of_split(self, rows: list[Row]) -> list[int]:
        if self.split == "all":
            return list(range(len(rows)))
        chosen = [number for number, row in enumerate(rows) if row.get("split") == self.split]
        if not chosen:
            splits = sorted({str(row["split"]) for row in rows if row.get("split")})
            have = f"it has {', '.join(splits)}" if splits else "it has no column 'split'"
            raise DataError(f"{self.manifest}: no row of split {self.split!r}; {have}, and `all` takes every row")
        return chosen

    def _record(self, row: Row, names: list[str], classes: tuple[str, ...], where: str) -> Record:
        image = self._place(row, "image", where)
        if image is None:
            raise DataError(f"{where}: the column 'image' is empty")
        return Record(
            image_id=str(row.get("id") or posixpath.splitext(str(row["image"]))[0]),
            labels=tuple(sorted({classes.index(name) for name in names})),
            image=image,
            mask=self._place(row, "mask", where),
            saliency=self._place(row, "saliency", where),
            boxes=_boxes(row.get("boxes"), classes, where),
        )

    def _place(self, row: Row, column: str, where: str) -> str | None:
        text = row.get(column)
        if not text:
            return None
        if is_remote(str(text)) or os.path.isabs(str(text)):
            return str(text)
        return within(self.root or self.manifest.rpartition("/")[0], str(text), where)


def _read(location: str, needed: Sequence[str]) -> list[Row]:
    data = read_bytes(location)
    try:
        rows = _read_parquet(data) if location.endswith(".parquet") else _read_csv(data)
    except (ValueError, OSError, csv.Error) as error:
        raise FileFault(location, f"is not a readable CSV or Parquet table ({error})") from None
    if not rows:
        raise FileFault(location, "has no rows")
    lacking = [column for column in needed if column not in rows[0]]
    if lacking:
        have = ", ".join(map(str, rows[0]))
        raise FileFault(
            location, f"has no column {' or '.join(lacking)}; it has {have}; known are {', '.join(COLUMNS)}"
        )
    return rows


def _read_csv(data: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def _read_parquet(data: bytes) -> list[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    return cast("list[Row]", parquet.read_table(pa.BufferReader(data)).to_pylist())


def _labels(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split("|")
    return [name for part in parts if (name := str(part).strip())]


def _boxes(value: Any, classes: tuple[str, ...], where: str) -> tuple[tuple[int, Box], ...]:
    if not value:
        return ()
    try:
        entries = json.loads(value) if isinstance(value, str) else value
        found = []
        for entry in entries:
            left, top, right, bottom = entry["box"]
            if entry["label"] not in classes:
                raise DataError(f"{where}: a box has the unknown class {entry['label']!r}")
            found.append((classes.index(entry["label"]), make_box(left, top, right, bottom)))
    except (ValueError, TypeError, KeyError, OverflowError):
        example = '[{"label": "cat", "box": [left, top, right, bottom]}]'
        raise DataError(f"{where}: boxes is {value!r}; expected JSON such as {example}") from None
    return tuple(found)
