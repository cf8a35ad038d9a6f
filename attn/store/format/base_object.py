"""Base objects: all rows of one shard, immutable once written."""

from __future__ import annotations

__all__ = ["Table", "batches_in", "check_base", "encode_base", "read_base", "read_batches", "read_table"]

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attn.store.errors import DamagedError
from attn.store.format.algebra import ACCEPTED, FALLBACK, Columns
from attn.store.format.codec import (
    MAGIC,
    MAX_HEAD_BYTES,
    batch_count,
    check_head,
    checksum,
    decode,
    encode,
    parse_table,
    rows_per_batch,
    table_length,
)
from attn.store.format.manifest import ShardRef


class ObjectReader(Protocol):
    """Reads parts of objects: a backend, or a cache in front of one."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes: ...


@dataclass(frozen=True)
class Table:
    """Byte ranges and checksums of a base object's record batches.

    Attributes:
        ends: Byte offsets: start of the first batch, then the end of each batch.
        checksums: One per batch.
    """

    ends: NDArray[np.int64]
    checksums: NDArray[np.int64]


def encode_base(
    shard: int, key: str, parts: Iterable[Columns], count: int, schema: pa.Schema, *, compress: bool
) -> tuple[Callable[[], ShardRef], memoryview]:
    """Encode a base object.

    Args:
        parts: The rows, in parts of whole record batches.
        count: Total number of rows.

    Returns:
        A function that hashes the content and returns its reference, and the content.
    """
    levels = np.zeros(3, np.int64)

    def counted() -> Iterator[Columns]:
        nonlocal levels
        for rows in parts:
            levels += np.bincount(rows["level"], minlength=3)
            yield rows

    encoded = encode(
        counted(),
        schema,
        batches=batch_count(count, schema),
        rows=count,
        batch=rows_per_batch(schema),
        compress=compress,
        table=True,
    )
    table = encoded.data[encoded.table : encoded.table + table_length(batch_count(count, schema))]

    def describe() -> ShardRef:
        return ShardRef(
            shard,
            key,
            len(encoded.data),
            hashlib.sha256(encoded.data).hexdigest(),
            encoded.table,
            hashlib.sha256(table).hexdigest(),
            int(levels[ACCEPTED]),
            int(levels[FALLBACK]),
        )

    return describe, encoded.data


def check_base(data: bytes, ref: ShardRef) -> None:
    """Check a base object's size and SHA-256.

    Raises:
        DamagedError: They differ from the manifest.
    """
    if len(data) != ref.size:
        raise DamagedError(f"it has {len(data)} bytes of {ref.size}")
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise DamagedError("its SHA-256 differs from the manifest's")


def batches_in(data: bytes, ref: ShardRef, count: int, schema: pa.Schema) -> memoryview:
    """The bytes of a base object's record batches.

    Args:
        count: Rows of the shard.
    """
    ends, _ = parse_table(data[ref.table : ref.table + table_length(batch_count(count, schema))], ref.size)
    check_head(memoryview(data)[MAGIC : ends[0]], schema)
    return memoryview(data)[ends[0] : ends[-1]]


def read_base(source: ObjectReader, ref: ShardRef, count: int, schema: pa.Schema) -> Columns:
    """Read all rows of a shard, after checking the whole object.

    Args:
        count: Rows of the shard.

    Raises:
        MissingError: The object does not exist.
        DamagedError: It differs from the manifest.
    """
    data = source.read(ref.key, 0, ref.size + 1)
    check_base(data, ref)
    return decode(batches_in(data, ref, count, schema), schema, count)


def read_table(source: ObjectReader, ref: ShardRef, count: int, schema: pa.Schema) -> Table:
    """Read and check the table of a base object.

    Raises:
        MissingError: The object does not exist.
        DamagedError: The table differs from the manifest.
    """
    text = source.read(ref.key, ref.table, ref.table + table_length(batch_count(count, schema)))
    if hashlib.sha256(text).hexdigest() != ref.table_sha256:
        raise DamagedError("the table of its record batches has changed or is cut off")
    ends, checksums = parse_table(text, ref.size)
    check_head(source.read(ref.key, MAGIC, min(int(ends[0]), MAX_HEAD_BYTES)), schema)
    return Table(ends, checksums)


def read_batches(
    source: ObjectReader,
    ref: ShardRef,
    table: Table,
    first: int,
    last: int,
    count: int,
    schema: pa.Schema,
    *,
    only: Sequence[str] | None = None,
) -> Columns:
    """Read the rows of batches [first, last) with one read, and check them.

    Args:
        count: Rows of the shard.
        only: Names of the columns to decode; None: all.

    Raises:
        MissingError: The object does not exist.
        DamagedError: A batch's checksum differs.
    """
    begin, end = int(table.ends[first]), int(table.ends[last])
    data = memoryview(source.read(ref.key, begin, end))
    if len(data) != end - begin:
        raise DamagedError(f"it ends before byte {end}")
    for number in range(first, last):
        part = data[table.ends[number] - begin : table.ends[number + 1] - begin]
        if checksum(part) != table.checksums[number]:
            raise DamagedError(
                f"record batch {number} (bytes {table.ends[number]} to {table.ends[number + 1]}) has changed"
            )
    batch = rows_per_batch(schema)
    return decode(data, schema, min(last * batch, count) - first * batch, only=only)
