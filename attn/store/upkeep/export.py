"""Export maps for other programs: greyscale PNGs like those of the published OAA code, one NPZ, or one Parquet file.

Rows without an accepted or fallback map are left out.
"""

from __future__ import annotations

__all__ = ["FORMATS", "export"]

import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from attn import progress
from attn.errors import DataError
from attn.files.locations import within
from attn.store.errors import StoreError
from attn.store.format.algebra import ACCEPTED, NONE
from attn.store.format.index import RowIndex
from attn.store.reader import Snapshot


def export(snapshot: Snapshot, index: RowIndex, grid: tuple[int, int], target: str, form: str) -> int:
    """Write a version's maps.

    Args:
        target: For `png` a folder for `<image id>_<class index>.png` (8 bits, greyscale). For `npz` a file with
            `image_ids`, `classes`, `accepted` (False: a fallback map) and `maps` (N, h, w). For `parquet` a file with
            `image_id`, `class`, `accepted` and `map` (h·w bytes, row-major).
        form: `png`, `npz` or `parquet`.

    Returns:
        The number of maps written.

    Raises:
        StoreError: The format is unknown, the target is an object store, or it cannot be written.
        DamagedError: An object is missing or damaged.
    """
    if form not in FORMATS:
        raise StoreError(f"format is {form!r}; use one of {', '.join(FORMATS)}")
    if "://" in target:
        raise StoreError(f"{target!r} is not a local path; export to a local folder or file, then copy it")
    manifest = snapshot.manifest
    try:
        with progress.task("maps", manifest.accepted + manifest.fallback, "maps") as reported:
            return FORMATS[form](_Export(snapshot, index, grid, reported), Path(target))
    except OSError as error:
        raise StoreError(f"{error.filename or target} cannot be written: {error.strerror or error}") from None


@dataclass(frozen=True)
class _Export:
    """A version to write.

    Attributes:
        reported: Counts the maps.
    """

    snapshot: Snapshot
    index: RowIndex
    grid: tuple[int, int]
    reported: progress.Task

    def rows(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]]:
        """Rows with a map, one shard at a time: numbers, levels and maps."""
        for start, levels, maps_Nhw in self.snapshot.shards():
            inside = np.flatnonzero(levels != NONE)
            yield inside + start, levels[inside], maps_Nhw[inside]

    def written(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]]:
        """As `rows`, reported as written once the caller asks for the next shard."""
        for numbers, levels, maps_Nhw in self.rows():
            yield numbers, levels, maps_Nhw
            self.reported.advance(len(numbers))


def _export_png(version: _Export, folder: Path) -> int:
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    created: set[Path] = {folder}
    count = 0
    for numbers, _levels, maps_Nhw in version.written():
        for (image_id, class_index), map_hw in zip(version.index.pairs(numbers), maps_Nhw, strict=True):
            try:
                path = Path(within(str(folder), f"{image_id}_{class_index}.png", f"image {image_id!r}"))
            except DataError as error:
                raise StoreError(f"{error}; export as npz or parquet") from None
            if path.parent not in created:
                path.parent.mkdir(parents=True, exist_ok=True)
                created.add(path.parent)
            path.write_bytes(cv2.imencode(".png", map_hw)[1].tobytes())
            count += 1
    return count


def _export_npz(version: _Export, path: Path) -> int:
    results = [(numbers, levels) for numbers, levels, _ in version.rows()]
    numbers = np.concatenate([part for part, _ in results])
    levels = np.concatenate([part for _, part in results])
    pairs = version.index.pairs(numbers)
    columns = {
        "image_ids": np.array([image_id for image_id, _ in pairs], dtype=np.str_),
        "classes": np.array([class_index for _, class_index in pairs], np.int32),
        "accepted": levels == ACCEPTED,
    }
    with _replaced(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                npy.write_array(stream, values, allow_pickle=False)
        with archive.open("maps.npy", "w", force_zip64=True) as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(numbers), *version.grid)}
            npy.write_array_header_1_0(stream, header)
            for _, _, maps_Nhw in version.written():
                stream.write(np.ascontiguousarray(maps_Nhw).reshape(-1).data)
    return len(numbers)


def _export_parquet(version: _Export, path: Path) -> int:
    import pyarrow.parquet as pq

    height, width = version.grid
    pixels = height * width
    fields = [("image_id", pa.string()), ("class", pa.int32()), ("accepted", pa.bool_()), ("map", pa.binary(pixels))]
    schema = pa.schema(fields, metadata={"height": str(height), "width": str(width)})
    count = 0
    with _replaced(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for numbers, levels, maps_Nhw in version.written():
            pairs = version.index.pairs(numbers)
            maps = pa.py_buffer(np.ascontiguousarray(maps_Nhw))
            columns = [
                pa.array([image_id for image_id, _ in pairs], pa.string()),
                pa.array([class_index for _, class_index in pairs], pa.int32()),
                pa.array(levels == ACCEPTED),
                pa.Array.from_buffers(pa.binary(pixels), len(pairs), [None, maps]),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=1024)
            count += len(pairs)
    return count


@contextmanager
def _replaced(path: Path) -> Iterator[str]:
    """A temporary file name; on success the file is renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield str(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


FORMATS: dict[str, Callable[[_Export, Path], int]] = {
    "png": _export_png,
    "npz": _export_npz,
    "parquet": _export_parquet,
}
