"""Rows as Arrow IPC files: record batches of a few maps, each compressed on its own, so that one can be read alone.

Any Arrow library reads the files. Who reads a part of one needs no footer: batches lie one behind the other, and their
lengths and checksums stand in a *table* inside the file's metadata, whose place the manifest gives.
"""

from __future__ import annotations

__all__ = [
    "LONGEST_HEAD",
    "MAGIC",
    "Encoded",
    "batch_of",
    "batches_of",
    "check_head",
    "checksum",
    "compressed_size",
    "decode",
    "encode",
    "is_worth_compressing",
    "most_bytes",
    "parse_table",
    "row_bytes",
    "schema_of",
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

MOST_ROWS = 64
"""Maps in a record batch of a base object: more compress no better, and cost a random read more."""
_BATCH_BYTES = 128 << 10
_WORTH = 0.9
"""Compressing and reading back takes a third of a merge's time."""

LONGEST_HEAD = 64 << 10
MAGIC = 8  # `ARROW1` and padding, before the schema's message
_TABLE = np.dtype([("length", ">u4"), ("checksum", ">u4")])
_HEAD = struct.Struct(">Q")
_TYPES = {"u1": pa.uint8(), "<u4": pa.uint32(), "<i4": pa.int32(), "<i8": pa.int64()}
_NUMPY = {pa.uint8(): "u1", pa.uint32(): "<u4", pa.int32(): "<i4", pa.int64(): "<i8"}


@dataclass(frozen=True)
class Encoded:
    """A file and where its batches lie.

    Attributes:
        data: The file.
        ends: Byte offsets: the first batch's begin, then each batch's end.
        table: Place of the table's first byte; 0 without table.
    """

    data: memoryview
    ends: list[int]
    table: int = 0


def schema_of(columns: Sequence[Column], fusion: str, grid: tuple[int, int]) -> pa.Schema:
    """Columns as Arrow has them; several values of a row are bytes of a fixed width."""
    widths = {column.name: column.width(grid[0] * grid[1]) for column in columns}
    kinds = {
        column.name: pa.binary(np.dtype(column.kind).itemsize * widths[column.name])
        if widths[column.name]
        else _TYPES[column.kind]
        for column in columns
    }
    types = {column.name: column.kind for column in columns if widths[column.name]}
    about = {"attn.grid": json.dumps(list(grid)), "attn.fusion": fusion, "attn.pixels": json.dumps(types)}
    return pa.schema(list(kinds.items()), metadata=about)


def encode(
    parts: Iterable[Columns], schema: pa.Schema, *, batches: int, rows: int, batch: int, compress: bool, table: bool
) -> Encoded:
    """Write rows as a file.

    Args:
        parts: The rows, some record batches at a time; only the last part is looked at.
        batches: How many record batches there will be.
        rows: How many rows in all.
        batch: Rows in each record batch but the last one of a part.
        compress: See `is_worth_compressing`; readers need not know.
        table: Whether the file is to have a table.
    """
    # Memory that is there from the start: a stream that grows would copy it all once more.
    space = np.empty(most_bytes(schema, batches, rows), np.uint8)
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(space))
    options = pa.ipc.IpcWriteOptions(compression=_codec() if compress else None, use_threads=False)
    token = secrets.token_hex(_TABLE.itemsize).encode()
    hole = token[: _HEAD.size * 2] + token * batches if table else b""
    ends: list[int] = []
    with pa.ipc.new_file(sink, schema, options=options, metadata={"attn.table": hole} if table else None) as file:
        for part in parts:
            whole = _batch(part, schema)
            for start in range(0, whole.num_rows, batch):
                file.write_batch(whole.slice(start, batch))
                ends.append(sink.tell())
    data = space.data[: sink.tell()]
    # The continuation mark and the length stand before the schema's message.
    first = MAGIC + 8 + int(struct.unpack_from("<i", data, MAGIC + 4)[0])
    ends.insert(0, first)
    if not table:
        return Encoded(data, ends)
    tail = ends[-1]  # the footer, with the metadata in it, comes after the batches
    place = tail + bytes(data[tail:]).index(hole)
    data[place : place + len(hole)] = _table(data, ends).hex().encode()
    return Encoded(data, ends, place)


def batches_of(rows: int, schema: pa.Schema) -> int:
    """Record batches of a base object with so many rows."""
    return -(-rows // batch_of(schema))


def most_bytes(schema: pa.Schema, batches: int, rows: int) -> int:
    """No file with so many rows is larger; incompressible data grow by less than a hundredth."""
    of_batch = 512 * (1 + len(schema)) + 2 * _TABLE.itemsize
    return rows * row_bytes(schema) * 101 // 100 + batches * of_batch + 4 * schema.serialize().size + (64 << 10)


def is_worth_compressing(size: int, raw: int) -> bool:
    """Whether so many bytes, instead of the raw ones, are worth the time; noisy maps hardly get smaller."""
    return size < _WORTH * raw


def compressed_size(data: NDArray[np.uint8]) -> int:
    """Bytes that are left of an array."""
    return len(_codec().compress(np.ascontiguousarray(data)))


def row_bytes(schema: pa.Schema) -> int:
    """Bytes of a row before compression."""
    return sum(field.type.bit_width // 8 for field in schema)


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
    """CRC-32, which sees every flipped bit of a batch."""
    return zlib.crc32(data)


def _table(data: memoryview, ends: Sequence[int]) -> bytes:
    entries = [struct.pack(">II", stop - start, checksum(data[start:stop])) for start, stop in pairwise(ends)]
    return _HEAD.pack(ends[0]) + b"".join(entries)


def batch_of(schema: pa.Schema) -> int:
    """Rows in a record batch of a base object: 64, or fewer (a power of two) where they exceed 128 KiB."""
    return min(MOST_ROWS, 1 << max(0, (_BATCH_BYTES // row_bytes(schema)).bit_length() - 1))


def table_length(batches: int) -> int:
    """Bytes of the table of a file with so many batches."""
    return 2 * (_HEAD.size + _TABLE.itemsize * batches)


def check_head(head: bytes | memoryview, schema: pa.Schema) -> None:
    """Raise unless a file's rows are on the grid and of the fusion that they are read for.

    Args:
        head: The file from behind its `MAGIC` to its first batch.

    Raises:
        DamagedError: They are not.
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
        DamagedError: It is no table.
    """
    try:
        data = bytes.fromhex(text.decode("ascii"))
        first = _HEAD.unpack_from(data)[0]
        entries = np.frombuffer(data, _TABLE, offset=_HEAD.size)
        if first > size:
            raise ValueError
    except (ValueError, struct.error):
        raise DamagedError("there is no table of its record batches where its version says") from None
    ends = np.concatenate([[first], entries["length"]]).astype(np.int64).cumsum()
    if ends[-1] > size:
        raise DamagedError(f"its table has record batches behind its {size} bytes")
    return ends, entries["checksum"].astype(np.int64)


def stream(
    data: bytes | memoryview, schema: pa.Schema, count: int, *, only: Iterable[str] | None = None
) -> Iterator[Columns]:
    """The rows of each of the batches that lie one behind the other, without the file around them; read-only.

    Args:
        data: The batches, which have been checked.
        count: Rows in them.
        only: Names of the columns that are wanted.

    Raises:
        DamagedError: They are no such batches, or have another number of rows.
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
    """The record batches with these columns."""
    left = count
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(data)):
        rows, size = batch_claims(message)
        left -= rows
        if left < 0 or size > rows * row_bytes(schema):
            raise DamagedError(f"a record batch has {rows} rows in {size} bytes; all in all {count} rows belong there")
        if len(columns) == len(schema):  # read where they lie; a merge reads whole shards
            yield pa.ipc.read_record_batch(message, schema)
    if left:
        raise DamagedError(f"it holds {count - left} rows where {count} belong")
    if len(columns) == len(schema):
        return
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=columns)
    yield from pa.ipc.open_stream(pa.BufferReader(b"".join([schema.serialize(), data])), options=options)


def decode(data: bytes | memoryview, schema: pa.Schema, count: int, *, only: Iterable[str] | None = None) -> Columns:
    """All rows of such batches together.

    Args:
        count: Rows in them.

    Raises:
        DamagedError: They are no such batches, or have another number of rows.
    """
    parts = list(stream(data, schema, count, only=only))
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kind(schema: pa.Schema, field: pa.Field) -> tuple[np.dtype[Any], int]:
    """A column's type, and its values per row; 0 for a plain number."""
    if field.type in _NUMPY:
        return np.dtype(_NUMPY[field.type]), 0
    kind = np.dtype(json.loads(schema.metadata[b"attn.pixels"])[field.name])
    return kind, field.type.byte_width // kind.itemsize
