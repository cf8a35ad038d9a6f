"""Which rows a store has: every (image, class) that the labels allow, in one fixed order.

Rows are sorted by image id (as UTF-8 bytes), then by class, so that an image's rows are neighbours and the order in
which they were given is forgotten. Nothing here keeps a Python object per row: an index of a million images is a few
arrays.
"""

from __future__ import annotations

__all__ = ["RowIndex"]

import functools
import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attn.store.errors import MapError

SCHEMA = pa.schema([("image_id", pa.large_string()), ("classes", pa.large_list(pa.int32()))])


class RowIndex:
    """Rows by number and by name.

    Attributes:
        starts: (images + 1,) first row of each image, and the number of rows.
        classes: (rows,) class of each row.
    """

    def __init__(self, images: pa.LargeStringArray, starts: NDArray[np.int64], classes: NDArray[np.int32]) -> None:
        self.images, self.starts, self.classes = images, starts, classes
        self._keys = _Keys(images)

    @classmethod
    def build(cls, rows: Iterable[tuple[str, int]]) -> RowIndex:
        """Index rows that are given in any order.

        Raises:
            MapError: A row is given twice, is no (text, whole number), or there are none.
        """
        ids: list[str] = []
        classes: list[int] = []
        for image_id, class_index in rows:
            ids.append(image_id)
            classes.append(class_index)
        if not ids:
            raise MapError("a store needs at least one row; give (image id, class) for every label of every image")
        try:
            table = pa.table({"image": pa.array(ids, pa.large_string()), "class": pa.array(classes, pa.int32())})
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise MapError(f"rows must be (image id as text, class as a whole number): {error}") from None
        table = table.sort_by([("image", "ascending"), ("class", "ascending")])
        images, numbers = table["image"].combine_chunks(), table["class"].to_numpy()
        if isinstance(images, pa.ChunkedArray):
            images = images.chunk(0)
        if table["image"].null_count or table["class"].null_count or numbers.min() < 0 or images[0].as_py() == "":
            raise MapError("rows must be (image id, class) with an id that is not empty and a class of at least 0")
        new_image = np.ones(len(ids), bool)
        new_image[1:] = np.diff(images.dictionary_encode().indices.to_numpy()) != 0
        twice = np.flatnonzero(~new_image[1:] & (numbers[1:] == numbers[:-1]))
        if len(twice):
            row = int(twice[0]) + 1
            raise MapError(
                f"{len(twice)} rows are given twice, the first is {images[row].as_py()!r} class {numbers[row]}"
            )
        starts = np.append(np.flatnonzero(new_image), len(ids)).astype(np.int64)
        return cls(images.take(pa.array(starts[:-1])), starts, np.ascontiguousarray(numbers, np.int32))

    def __len__(self) -> int:
        return len(self.classes)

    def encode(self) -> bytes:
        """The index as an Arrow IPC file; equal rows give equal bytes."""
        lists = pa.LargeListArray.from_arrays(pa.array(self.starts), pa.array(self.classes))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(
            sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        ) as file:
            file.write_batch(pa.record_batch([self.images, lists], schema=SCHEMA))
        return sink.getvalue().to_pybytes()

    @classmethod
    def decode(cls, data: bytes) -> RowIndex:
        """What `encode` made."""
        batch = pa.ipc.open_file(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False)).get_batch(0)
        lists = batch.column(1)
        return cls(batch.column(0), lists.offsets.to_numpy(), lists.values.to_numpy())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the rows themselves."""
        found = hashlib.sha256()
        for part in (self._keys.offsets, self.starts, self.classes):
            found.update(np.int64(len(part)).tobytes())
            found.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)
        found.update(self._keys.text)
        return found.hexdigest()

    def find(self, image_id: str) -> tuple[int, int]:
        """First row of an image and the row after its last; the same number twice where it has none."""
        key = image_id.encode()
        place = bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return 0, 0
        return int(self.starts[place]), int(self.starts[place + 1])

    def row(self, image_id: str, class_index: int) -> int:
        """The number of a row.

        Raises:
            MapError: The store has no such row.
        """
        start, stop = self.find(image_id)
        place = start + int(np.searchsorted(self.classes[start:stop], class_index))
        if place < stop and self.classes[place] == class_index:
            return place
        if start == stop:
            raise MapError(f"image {image_id!r} is not in the store, which has {len(self.images)} images")
        classes = ", ".join(map(str, self.classes[start:stop]))
        raise MapError(f"image {image_id!r} has no row for class {class_index} in the store; its classes are {classes}")

    def numbers(self, rows: Iterable[tuple[str, int]] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Row numbers of (image id, class) pairs; numbers stay.

        Raises:
            MapError: The store has no such row.
        """
        if not isinstance(rows, np.ndarray):
            rows = list(rows)
            if not rows or not isinstance(rows[0], (int, np.integer)):
                return np.array([self.row(image_id, class_index) for image_id, class_index in rows], np.int64)
        found = np.asarray(rows)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise MapError(
                f"row numbers are {found.dtype} of shape {found.shape}; they must be a list of whole numbers"
            )
        if found.size and not (found.min() >= 0 and found.max() < len(self)):
            raise MapError(
                f"row numbers lie in [{found.min()}, {found.max()}]; the store has rows 0 to {len(self) - 1}"
            )
        return found.astype(np.int64)

    def pairs(self, numbers: NDArray[np.integer]) -> list[tuple[str, int]]:
        """(image id, class) of rows by number."""
        images = np.searchsorted(self.starts, numbers, side="right") - 1
        ids = self.images.take(pa.array(images)).to_pylist()
        return list(zip(ids, self.classes[numbers].tolist(), strict=True))

    def cuts(self, rows_per_shard: int) -> NDArray[np.int64]:
        """Where shards begin, and the number of rows: about `rows_per_shard` apart, never inside an image."""
        wanted = np.arange(0, len(self), rows_per_shard)
        return np.unique(np.append(self.starts[np.searchsorted(self.starts, wanted)], len(self)))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        step = 1 << 16
        for start in range(0, len(self), step):
            yield from self.pairs(np.arange(start, min(start + step, len(self))))


class _Keys(Sequence[bytes]):
    """Image ids as sorted bytes, without a Python object for each."""

    def __init__(self, images: pa.LargeStringArray) -> None:
        _, offsets, text = images.buffers()
        self.offsets = np.frombuffer(offsets, np.int64, len(images) + 1, images.offset * 8)
        self.text = memoryview(text)[self.offsets[0] : self.offsets[-1]] if len(images) else memoryview(b"")
        self.offsets = self.offsets - self.offsets[0]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return bytes(self.text[self.offsets[place] : self.offsets[place + 1]])
