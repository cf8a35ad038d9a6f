"""Encodes rows as Arrow IPC files: record batches of a few maps, compressed independently for random access.

Any Arrow library can read the files. To read a part of a file you do not need its footer: batches are adjacent, and a
*table* in the file's metadata lists their lengths and checksums. The manifest gives the table's byte offset.
"""

from __future__ import annotations

__all__ = [
    "MAX_HEAD_BYTES",
    "MAGIC",
    "Encoded",
    "rows_per_batch",
    "batch_count",
    "check_head",
    "checksum",
    "compressed_size",
    "decode",
    "encode",
    "is_worth_compressing",
    "max_bytes",
    "parse_table",
    "row_bytes",
    "arrow_schema",
    "stream",
    "table_length",
]

import json
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attn.store.errors import DamagedError
from attn.store.format.algebra import ACCEPTED, Column, Columns
from attn.store.format.batch_header import batch_claims

MAX_BATCH_ROWS = 64
"""Maximum maps in a record batch of a base object: larger batches compress no better and make random reads slower."""
_BATCH_BYTES = 128 << 10
_PADDED_TO = 64
"""Arrow pads buffers to a multiple of 8 or 64 bytes."""
_WORTH = 0.9
"""Compress only to less than this fraction: compression and decompression take a third of a merge's time."""

MAX_HEAD_BYTES = 64 << 10
MAGIC = 8  # `ARROW1` and padding, before the schema's message
_TABLE = np.dtype([("length", ">u4"), ("checksum", ">u4")])
_HEAD = struct.Struct(">Q")
_TYPES = {"u1": pa.uint8(), "<u4": pa.uint32(), "<i4": pa.int32(), "<i8": pa.int64()}
_NUMPY = {pa.uint8(): "u1", pa.uint32(): "<u4", pa.int32(): "<i4", pa.int64(): "<i8"}


@dataclass(frozen=True)
class Encoded:
    """An encoded file.

    Attributes:
        data: Content of the file.
        ends: Byte offsets: start of the first batch, then the end of each batch.
        table: Byte offset of the table; 0: no table.
    """

    data: memoryview
    ends: list[int]
    table: int = 0


def arrow_schema(columns: Sequence[Column], fusion: str, grid: tuple[int, int]) -> pa.Schema:
    """The Arrow schema of columns. A column with several values per row is fixed-size binary."""
    widths = {column.name: column.width(grid[0] * grid[1]) for column in columns}
    kinds = {
        column.name: pa.binary(np.dtype(column.kind).itemsize * widths[column.name])
        if widths[column.name]
        else _TYPES[column.kind]
        for column in columns
    }
    types = {column.name: column.kind for column in columns if widths[column.name]}
    metadata = {"attn.grid": json.dumps(list(grid)), "attn.fusion": fusion, "attn.pixels": json.dumps(types)}
    return pa.schema(list(kinds.items()), metadata=metadata)


def encode(
    parts: Iterable[Columns], schema: pa.Schema, *, batches: int, rows: int, batch: int, compress: bool, table: bool
) -> Encoded:
    """Encode rows as a file.

    Args:
        parts: The rows in parts. A part's arrays may be reused for the next part.
        batches: Number of record batches.
        rows: Total number of rows.
        batch: Rows per record batch; the last batch of a part may have fewer.
        compress: See `is_worth_compressing`. Readers detect compression by themselves.
        table: Write the table of batches.
    """
    # Allocated at once: a growing stream would copy everything again.
    space = np.empty(max_bytes(schema, batches, rows), np.uint8)
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(space))
    options = pa.ipc.IpcWriteOptions(compression=_codec() if compress else None, use_threads=False)
    token = secrets.token_hex(_TABLE.itemsize).encode()
    hole = token[: _HEAD.size * 2] + token * batches if table else b""
    ends: list[int] = []
    with pa.ipc.new_file(sink, schema, options=options, metadata={"attn.table": hole} if table else None) as file:
        for part in parts:
            for start in range(0, len(part["level"]), batch):
                # Arrow writes bytes of neighbouring rows with a slice of its own, so slice before it gets the rows.
                file.write_batch(_batch({name: rows[start : start + batch] for name, rows in part.items()}, schema))
                ends.append(sink.tell())
    data = space.data[: sink.tell()]
    # The schema message is preceded by a continuation marker and its length.
    first = MAGIC + 8 + int(struct.unpack_from("<i", data, MAGIC + 4)[0])
    ends.insert(0, first)
    if not table:
        return Encoded(data, ends)
    tail = ends[-1]  # the footer with the metadata follows the batches
    table_start = tail + bytes(data[tail:]).index(hole)
    data[table_start : table_start + len(hole)] = _table(data, ends).hex().encode()
    return Encoded(data, ends, table_start)


def batch_count(rows: int, schema: pa.Schema) -> int:
    """Number of record batches of a base object with `rows` rows."""
    return -(-rows // rows_per_batch(schema))


def max_bytes(schema: pa.Schema, batches: int, rows: int) -> int:
    """Upper bound of a file's size; incompressible data grow by less than 1 %."""
    of_batch = 512 * (1 + len(schema)) + 2 * _TABLE.itemsize
    return rows * row_bytes(schema) * 101 // 100 + batches * of_batch + 4 * schema.serialize().size + (64 << 10)


def is_worth_compressing(size: int, raw: int) -> bool:
    """Return whether compressing `raw` bytes to `size` is worth the time; noisy maps hardly shrink."""
    return size < _WORTH * raw


def compressed_size(data: NDArray[np.uint8]) -> int:
    """Bytes of an array after compression."""
    return len(_codec().compress(np.ascontiguousarray(data)))


def row_bytes(schema: pa.Schema) -> int:
    """Bytes of a row before compression."""
    return sum(field.type.bit_width // 8 for field in schema)


def _max_batch_bytes(schema: pa.Schema, rows: int) -> int:
    """Upper bound of a record batch's buffers before compression.

    Arrow may pad a buffer to a multiple of 64 bytes. Stores written by earlier versions have such padding, filled with
    bytes of the neighbouring rows.
    """
    return sum(-(-rows * (field.type.bit_width // 8) // _PADDED_TO) * _PADDED_TO for field in schema)


def _codec() -> pa.Codec:
    return pa.Codec("zstd", -1)


def _batch(rows: Columns, schema: pa.Schema) -> pa.RecordBatch:
    count = len(rows["level"])
    arrays = [
        pa.Array.from_buffers(field.type, count, [None, pa.py_buffer(np.ascontiguousarray(rows[field.name]))])
        for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)


def checksum(data: bytes | memoryview) -> int:
    """CRC-32 of a batch; detects flipped bits."""
    return zlib.crc32(data)


def _table(data: memoryview, ends: Sequence[int]) -> bytes:
    entries = [struct.pack(">II", stop - start, checksum(data[start:stop])) for start, stop in pairwise(ends)]
    return _HEAD.pack(ends[0]) + b"".join(entries)


def rows_per_batch(schema: pa.Schema) -> int:
    """Rows in a record batch of a base object: 64, or the largest power of two that fits into 128 KiB."""
    return min(MAX_BATCH_ROWS, 1 << max(0, (_BATCH_BYTES // row_bytes(schema)).bit_length() - 1))


def table_length(batches: int) -> int:
    """Bytes of the table of a file with `batches` batches."""
    return 2 * (_HEAD.size + _TABLE.itemsize * batches)


def check_head(head: bytes | memoryview, schema: pa.Schema) -> None:
    """Check that a file has the columns, grid and fusion of a schema.

    Args:
        head: The file's bytes from `MAGIC` to its first batch.

    Raises:
        DamagedError: It has others.
    """
    try:
        if pa.ipc.read_schema(pa.py_buffer(head)).equals(schema, check_metadata=True):
            return
    except (pa.ArrowException, ValueError, OSError):
        pass
    raise DamagedError("its columns, grid or fusion are not those of the store")


def parse_table(text: bytes, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Byte offsets as in `Encoded.ends`, and each batch's checksum.

    Args:
        size: Bytes of the object.

    Raises:
        DamagedError: The text is not a valid table.
    """
    try:
        data = bytes.fromhex(text.decode("ascii"))
        first = _HEAD.unpack_from(data)[0]
        entries = np.frombuffer(data, _TABLE, offset=_HEAD.size)
        if first > size:
            raise ValueError
    except (ValueError, struct.error):
        raise DamagedError("it has no table of record batches at the offset that its manifest gives") from None
    ends = np.concatenate([[first], entries["length"]]).astype(np.int64).cumsum()
    if ends[-1] > size:
        raise DamagedError(f"its table lists record batches beyond its {size} bytes")
    return ends, entries["checksum"].astype(np.int64)


def stream(
    data: bytes | memoryview, schema: pa.Schema, count: int, *, only: Iterable[str] | None = None
) -> Iterator[Columns]:
    """Decode adjacent record batches one at a time, without the file around them. The arrays are read-only.

    Args:
        data: The batches, already checked.
        count: Total number of rows.
        only: Names of the columns to decode; None: all.

    Raises:
        DamagedError: The batches are invalid, or have another number of rows.
    """
    fields = [field for field in schema if only is None or field.name in set(only)]
    kinds = {field.name: _kind(schema, field) for field in fields}
    try:
        for batch in _batches(data, schema, count, [schema.get_field_index(field.name) for field in fields]):
            rows: Columns = {}
            for name, (kind, width) in kinds.items():
                values = np.frombuffer(batch.column(name).buffers()[1], kind, batch.num_rows * (width or 1))
                rows[name] = values.reshape(batch.num_rows, width) if width else values
            if "level" in rows and rows["level"].size and rows["level"].max() > ACCEPTED:
                raise DamagedError(f"it has a row of level {rows['level'].max()}")
            yield rows
    except (pa.ArrowException, ValueError, OSError, KeyError, TypeError, struct.error) as error:
        raise DamagedError(f"its record batches cannot be read ({type(error).__name__})") from None


def _batches(data: bytes | memoryview, schema: pa.Schema, count: int, columns: list[int]) -> Iterator[pa.RecordBatch]:
    """The record batches, with these columns only."""
    left = count
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(data)):
        rows, size = batch_claims(message)
        left -= rows
        if left < 0:
            raise DamagedError(f"its record batches have {count - left} rows or more, expected {count}")
        if size > (most := _max_batch_bytes(schema, rows)):
            raise DamagedError(f"a record batch has {size} bytes; {rows} rows have at most {most}")
        if len(columns) == len(schema):  # without a copy; a merge reads whole shards
            yield pa.ipc.read_record_batch(message, schema)
    if left:
        raise DamagedError(f"it has {count - left} rows, expected {count}")
    if len(columns) == len(schema):
        return
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=columns)
    yield from pa.ipc.open_stream(pa.BufferReader(b"".join([schema.serialize(), data])), options=options)


def decode(data: bytes | memoryview, schema: pa.Schema, count: int, *, only: Iterable[str] | None = None) -> Columns:
    """Decode adjacent record batches into one set of columns; see `stream`.

    Args:
        count: Total number of rows.

    Raises:
        DamagedError: The batches are invalid, or have another number of rows.
    """
    parts = list(stream(data, schema, count, only=only))
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kind(schema: pa.Schema, field: pa.Field) -> tuple[np.dtype[Any], int]:
    """A column's NumPy type, and its values per row; 0 for a scalar column."""
    if field.type in _NUMPY:
        return np.dtype(_NUMPY[field.type]), 0
    kind = np.dtype(json.loads(schema.metadata[b"attn.pixels"])[field.name])
    return kind, field.type.byte_width // kind.itemsize
