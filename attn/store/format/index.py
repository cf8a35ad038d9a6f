"""The rows of a store: every (image, class) pair of the labels, in one fixed order.

Rows are sorted by image id (as UTF-8 bytes), then by class. So an image's rows are adjacent, and the order in which
they were given does not matter. There is no Python object per row: an index of a million images is a few arrays.
"""

from __future__ import annotations

__all__ = ["RowIndex"]

import functools
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attn.store.errors import DamagedError, MapError
from attn.store.format.batch_header import batch_claims

_MAGIC = 8  # `ARROW1` and padding, before the schema's message
_SMALL, _MAX_RATIO = 64 << 20, 64
"""Limit of a decompressed index: 64 MiB plus 64 times its compressed size, more than any real index."""
SCHEMA = pa.schema([("image_id", pa.large_string()), ("classes", pa.large_list(pa.int32()))])


class RowIndex:
    """Maps (image id, class) to row numbers and back.

    Attributes:
        starts: (images + 1,) first row of each image, then the number of rows.
        classes: (rows,) class index of each row.
    """

    def __init__(self, ids: _Ids, starts: NDArray[np.int64], classes: NDArray[np.int32]) -> None:
        self._ids, self.starts, self.classes = ids, starts, classes

    @classmethod
    def build(cls, rows: Iterable[tuple[str, int]]) -> RowIndex:
        """Build an index from rows in any order.

        Raises:
            MapError: There are no rows, one is given twice, or one is not (text, whole number).
        """
        pairs = [(image_id, class_index) for image_id, class_index in rows]
        if not pairs:
            raise MapError("a store needs at least one row; give (image id, class) for every label of every image")
        for image_id, class_index in pairs:
            if not isinstance(image_id, str) or not image_id:
                raise MapError(f"a row has image id {image_id!r}; it must be a non-empty string")
            if not isinstance(class_index, (int, np.integer)) or not 0 <= class_index < 2**31:
                raise MapError(f"image {image_id!r} has class {class_index!r}; it must be a whole number, at least 0")
        pairs.sort()  # code points sort as their UTF-8 bytes do
        try:
            names = [image_id.encode() for image_id, _ in pairs]
        except UnicodeEncodeError as error:
            raise MapError(f"image id {error.object!r} is not valid text: it has half of a surrogate pair") from None
        classes = np.array([class_index for _, class_index in pairs], np.int32)
        new_image = np.ones(len(names), bool)
        new_image[1:] = [name != before for before, name in pairwise(names)]
        twice = np.flatnonzero(~new_image[1:] & (classes[1:] == classes[:-1]))
        if len(twice):
            first = pairs[int(twice[0])]
            raise MapError(f"{len(twice)} rows are given twice, the first one is {first[0]!r} class {first[1]}")
        starts = np.append(np.flatnonzero(new_image), len(names)).astype(np.int64)
        return cls(_Ids.of([names[start] for start in starts[:-1].tolist()]), starts, classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __reduce__(self) -> tuple[Callable[[bytes], RowIndex], tuple[bytes]]:
        return RowIndex.decode, (self.encode(),)

    @property
    def images(self) -> Sequence[bytes]:
        """Image ids in UTF-8, sorted."""
        return self._ids

    def encode(self) -> bytes:
        """Encode the index as an Arrow IPC file; equal rows give equal bytes."""
        count = len(self._ids)
        values = pa.Array.from_buffers(pa.int32(), len(self), [None, pa.py_buffer(self.classes)])
        arrays = [
            pa.Array.from_buffers(
                pa.large_string(), count, [None, pa.py_buffer(self._ids.offsets), pa.py_buffer(self._ids.text)]
            ),
            pa.Array.from_buffers(
                pa.large_list(pa.int32()), count, [None, pa.py_buffer(self.starts)], children=[values]
            ),
        ]
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        with pa.ipc.new_file(sink, SCHEMA, options=options) as file:
            file.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        return sink.getvalue().to_pybytes()

    @classmethod
    def decode(cls, data: bytes) -> RowIndex:
        """Parse an encoded index.

        Raises:
            DamagedError: It is not a valid index.
        """
        try:
            batch = _batch(data)
            count = batch.num_rows
            _, offsets, text = batch.column(0).buffers()
            lists = batch.column(1)
            starts = np.frombuffer(lists.buffers()[1], np.int64, count + 1)
            classes = np.frombuffer(lists.values.buffers()[1], np.int32, int(starts[-1]))
            index = cls(_Ids(np.frombuffer(offsets, np.int64, count + 1), memoryview(text)), starts, classes)
        except (pa.ArrowException, ValueError, TypeError, OSError, StopIteration) as error:
            raise DamagedError(f"it cannot be read ({type(error).__name__})") from None
        import pyarrow.compute as pc  # slow to import

        if starts[0] != 0 or (np.diff(starts) < 1).any():
            raise DamagedError("it has an image without rows")
        same_image = np.ones(len(classes), bool)
        same_image[starts[:-1]] = False
        if classes.min() < 0 or (np.diff(classes) < 1)[same_image[1:]].any():
            raise DamagedError("the classes of an image are not in order, or one is listed twice")
        names = batch.column(0)
        if pc.call_function("less", [names[:-1], names[1:]]).false_count:
            raise DamagedError("its images are not in order, or one is listed twice")
        return index

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the rows, independent of their encoding."""
        result = hashlib.sha256()
        for part in (self._ids.offsets, self.starts, self.classes):
            result.update(np.int64(len(part)).tobytes())
            result.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)
        result.update(self._ids.text[: self._ids.offsets[-1]])
        return result.hexdigest()

    def find(self, image_id: str) -> tuple[int, int]:
        """An image's rows [start, stop); (0, 0) if the image is unknown."""
        key = image_id.encode()
        position = bisect_left(self._ids, key)
        if position == len(self._ids) or self._ids[position] != key:
            return 0, 0
        return int(self.starts[position]), int(self.starts[position + 1])

    def row(self, image_id: str, class_index: int) -> int:
        """The number of a row.

        Raises:
            MapError: The store has no such row.
        """
        start, stop = self.find(image_id)
        position = start + int(np.searchsorted(self.classes[start:stop], class_index))
        if position < stop and self.classes[position] == class_index:
            return position
        if start == stop:
            raise MapError(f"image {image_id!r} is not in the store, which has {len(self._ids)} images")
        classes = ", ".join(map(str, self.classes[start:stop]))
        raise MapError(f"image {image_id!r} has no row for class {class_index} in the store; its classes are {classes}")

    def numbers(self, rows: Iterable[tuple[str, int] | int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Row numbers of (image id, class) pairs; row numbers are returned unchanged.

        Raises:
            MapError: The store has no such row.
        """
        if not isinstance(rows, np.ndarray):
            rows = np.array([row if isinstance(row, (int, np.integer)) else self.row(*row) for row in rows], np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise MapError(f"row numbers are {rows.dtype} of shape {rows.shape}; they must be a list of whole numbers")
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise MapError(f"row numbers lie in [{rows.min()}, {rows.max()}]; the store has rows 0 to {len(self) - 1}")
        return rows.astype(np.int64)

    def pairs(self, numbers: NDArray[np.integer]) -> list[tuple[str, int]]:
        """(image id, class) pairs of row numbers."""
        images = (np.searchsorted(self.starts, numbers, side="right") - 1).tolist()
        return [
            (self._ids[image].decode(), index)
            for image, index in zip(images, self.classes[numbers].tolist(), strict=True)
        ]

    def shard_bounds(self, rows_per_shard: int) -> NDArray[np.int64]:
        """First row of each shard, then the number of rows: about `rows_per_shard` apart, and never within an image."""
        wanted = np.arange(0, len(self), rows_per_shard)
        return np.unique(np.append(self.starts[np.searchsorted(self.starts, wanted)], len(self)))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        step = 1 << 16
        for start in range(0, len(self), step):
            yield from self.pairs(np.arange(start, min(start + step, len(self))))


def _batch(data: bytes) -> pa.RecordBatch:
    """The single record batch of an index, validated by Arrow."""
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(memoryview(data)[_MAGIC:]))
    if not pa.ipc.read_schema(next(messages)).equals(SCHEMA):
        raise ValueError
    message = next(messages)
    rows, size = batch_claims(message)
    if not rows or size > _SMALL + _MAX_RATIO * len(data):
        raise DamagedError(f"it claims {rows} images, and {size} decompressed bytes in {len(data)}")
    batch = pa.ipc.read_record_batch(message, SCHEMA)
    batch.validate(full=True)
    return batch


class _Ids(Sequence[bytes]):
    """Sorted image ids as one byte string and offsets, without a Python object per id."""

    def __init__(self, offsets: NDArray[np.int64], text: bytes | memoryview) -> None:
        self.offsets, self.text = offsets, text
        self._bounds = offsets.data  # a memoryview: its items are Python integers

    @classmethod
    def of(cls, names: Sequence[bytes]) -> _Ids:
        offsets = np.zeros(len(names) + 1, np.int64)
        np.cumsum([len(name) for name in names], out=offsets[1:])
        return cls(offsets, b"".join(names))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return bytes(self.text[self._bounds[position] : self._bounds[position + 1]])
