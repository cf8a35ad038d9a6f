"""Base objects: all rows of one shard, immutable once written."""

from __future__ import annotations

__all__ = ["Table", "batches_in", "check_base", "encode_base", "read_base", "read_blocks", "read_table"]

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
    LONGEST_HEAD,
    MAGIC,
    batch_of,
    batches_of,
    check_head,
    checksum,
    decode,
    encode,
    parse_table,
    table_length,
)
from attn.store.format.manifest import ShardRef


class Reads(Protocol):
    """What can read a part of an object: a backend or a cache before it."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes: ...


@dataclass(frozen=True)
class Table:
    """Where the batches of a base object lie.

    Attributes:
        ends: Byte offsets: the first batch's begin, then each batch's end.
        checksums: One per batch.
    """

    ends: NDArray[np.int64]
    checksums: NDArray[np.int64]


def encode_base(
    shard: int, key: str, parts: Iterable[Columns], count: int, schema: pa.Schema, *, compress: bool
) -> tuple[Callable[[], ShardRef], memoryview]:
    """A base object's description, which hashes the content when it is called, and the content.

    Args:
        parts: The rows, whole record batches at a time.
        count: All rows.
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
        batches=batches_of(count, schema),
        rows=count,
        batch=batch_of(schema),
        compress=compress,
        table=True,
    )
    table = encoded.data[encoded.table : encoded.table + table_length(batches_of(count, schema))]

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
    """Raise unless a base object is the one that was written.

    Raises:
        DamagedError: It is not what its version says.
    """
    if len(data) != ref.size:
        raise DamagedError(f"it has {len(data)} bytes of {ref.size}")
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise DamagedError("its SHA-256 is not the one of its version")


def batches_in(data: bytes, ref: ShardRef, count: int, schema: pa.Schema) -> memoryview:
    """The record batches of a base object, one behind the other.

    Args:
        count: Rows of the shard.
    """
    ends, _ = parse_table(data[ref.table : ref.table + table_length(batches_of(count, schema))], ref.size)
    check_head(memoryview(data)[MAGIC : ends[0]], schema)
    return memoryview(data)[ends[0] : ends[-1]]


def read_base(source: Reads, ref: ShardRef, count: int, schema: pa.Schema) -> Columns:
    """All rows of a shard, after the whole object was checked.

    Args:
        count: Rows of the shard.

    Raises:
        MissingError: The object is not there.
        DamagedError: It is not what its version says.
    """
    data = source.read(ref.key, 0, ref.size + 1)
    check_base(data, ref)
    return decode(batches_in(data, ref, count, schema), schema, count)


def read_table(source: Reads, ref: ShardRef, count: int, schema: pa.Schema) -> Table:
    """The table of a base object, checked.

    Raises:
        MissingError: The object is not there.
        DamagedError: The table is not what its version says.
    """
    text = source.read(ref.key, ref.table, ref.table + table_length(batches_of(count, schema)))
    if hashlib.sha256(text).hexdigest() != ref.table_sha256:
        raise DamagedError("the table of its record batches has changed or is cut off")
    ends, checksums = parse_table(text, ref.size)
    check_head(source.read(ref.key, MAGIC, min(int(ends[0]), LONGEST_HEAD)), schema)
    return Table(ends, checksums)


def read_blocks(
    source: Reads,
    ref: ShardRef,
    table: Table,
    first: int,
    last: int,
    count: int,
    schema: pa.Schema,
    *,
    only: Sequence[str] | None = None,
) -> Columns:
    """The rows of batches `first` to `last - 1`, which is one read, after they were checked.

    Args:
        count: Rows of the shard.
        only: Names of the columns that are wanted.

    Raises:
        MissingError: The object is not there.
        DamagedError: A batch is not what its version says.
    """
    begin, end = int(table.ends[first]), int(table.ends[last])
    data = memoryview(source.read(ref.key, begin, end))
    if len(data) != end - begin:
        raise DamagedError(f"it ends before byte {end}")
    for block in range(first, last):
        part = data[table.ends[block] - begin : table.ends[block + 1] - begin]
        if checksum(part) != table.checksums[block]:
            raise DamagedError(
                f"record batch {block} (bytes {table.ends[block]} to {table.ends[block + 1]}) has changed"
            )
    batch = batch_of(schema)
    return decode(data, schema, min(last * batch, count) - first * batch, only=only)
