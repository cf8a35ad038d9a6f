"""Delta objects: maps that one writer sealed, sorted by row and split at shard bounds."""

from __future__ import annotations

__all__ = ["ROW", "DeltaKey", "DeltaObject", "DeltaRef", "Span", "check_span", "encode_delta", "read_span", "sha256_of"]

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from attn.store.errors import DamagedError
from attn.store.format.algebra import ACCEPTED, Column, Columns
from attn.store.format.codec import compressed_size, encode, is_worth_compressing, stream
from attn.store.format.records import NAME, STRICT, Count, Name, Number, Sha256

ROW = Column("row", "<i8", "row")
"""Row numbers, stored beside the fusion's columns."""

DeltaKey = Annotated[str, Field(pattern=f"^delta/{NAME}/{NAME}/{NAME}[.]arrow$")]

_BATCH = 256
_SAMPLE = 64


@dataclass(frozen=True)
class Span:
    """The part of a delta object that belongs to one shard.

    Attributes:
        offset: Offset of its first byte.
        size: Number of bytes.
        rows: Number of maps.
        sha256: SHA-256 of the bytes.
    """

    __pydantic_config__ = STRICT

    shard: Count
    offset: Count
    size: Count
    rows: Number
    sha256: Sha256


@dataclass(frozen=True)
class DeltaObject:
    """Reference to a delta object: key, expected size and hash (see `sha256_of`), counts and spans."""

    __pydantic_config__ = STRICT

    key: DeltaKey
    size: Count
    sha256: Sha256
    rows: Number
    accepted: Count
    spans: Annotated[tuple[Span, ...], Field(min_length=1)]


@dataclass(frozen=True)
class DeltaRef:
    """Reference to the maps that a writer sealed; plain data to send to the process that commits.

    Attributes:
        attempt: The writer's session; other sessions refuse the delta.
        epoch: Epoch of the maps; None: the epoch of the commit.
        objects: Empty if there were no maps; several if the writer's buffer was full in between.
    """

    __pydantic_config__ = STRICT

    run: Name
    attempt: Name
    rank: Count
    epoch: Count | None
    objects: tuple[DeltaObject, ...]

    @property
    def rows(self) -> int:
        """Number of maps in all objects."""
        return sum(item.rows for item in self.objects)

    @property
    def accepted(self) -> int:
        """Number of accepted maps; the others are fallback maps."""
        return sum(item.accepted for item in self.objects)

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(item.size for item in self.objects)


def encode_delta(
    key: str,
    rows: NDArray[np.int64],
    added: Columns,
    order: NDArray[np.intp],
    schema: pa.Schema,
    shard_bounds: NDArray[np.int64],
) -> tuple[Callable[[], DeltaObject], memoryview]:
    """Encode a delta object.

    Args:
        rows: (N,) row numbers without duplicates.
        added: The fusion's columns; only the first N entries are used.
        order: (N,) permutation that sorts the rows.
        shard_bounds: First row of each shard, then the number of rows.

    Returns:
        A function that hashes the content and returns its reference, and the content.
    """
    rows, levels = rows[order], added["level"][order]
    borders = np.searchsorted(rows, shard_bounds)
    shards = np.flatnonzero(np.diff(borders))
    starts = np.concatenate([np.arange(borders[shard], borders[shard + 1], _BATCH) for shard in shards])
    batches = [*starts.tolist(), len(rows)]
    encoded = encode(
        # Sorted one batch at a time: sorting all maps at once would double their memory.
        (
            {"row": rows[start:stop], **{name: values[order[start:stop]] for name, values in added.items()}}
            for start, stop in pairwise(batches)
        ),
        schema,
        batches=len(starts),
        rows=len(rows),
        batch=_BATCH,
        compress=_compress(added["map"][: len(rows)]),
        table=False,
    )
    first_batch = np.searchsorted(starts, borders)

    def describe() -> DeltaObject:
        spans: list[Span] = []
        for shard in shards.tolist():
            begin, end = encoded.ends[first_batch[shard]], encoded.ends[first_batch[shard + 1]]
            count = int(borders[shard + 1] - borders[shard])
            spans.append(Span(shard, begin, end - begin, count, hashlib.sha256(encoded.data[begin:end]).hexdigest()))
        accepted = int(np.count_nonzero(levels == ACCEPTED))
        sha256 = sha256_of(encoded.data, spans)
        return DeltaObject(key, len(encoded.data), sha256, len(rows), accepted, tuple(spans))

    return describe, encoded.data


def sha256_of(data: memoryview, spans: Sequence[Span]) -> str:
    """SHA-256 of a delta object: over the bytes before its spans, the spans' SHA-256, and the bytes after its spans."""
    result = hashlib.sha256(data[: spans[0].offset])
    for span in spans:
        result.update(bytes.fromhex(span.sha256))
    result.update(data[spans[-1].offset + spans[-1].size :])
    return result.hexdigest()


def read_span(data: bytes | memoryview, span: Span, schema: pa.Schema, start: int, stop: int) -> Iterator[Columns]:
    """Decode a span's rows, and check that they ascend and belong to one shard.

    Args:
        start: The shard's first row.
        stop: The row after its last.

    Raises:
        DamagedError: Rows are not in order, or belong to another shard.
    """
    least = start
    for rows in stream(data, schema, span.rows):
        numbers = rows["row"]
        if len(numbers):
            if numbers[0] < least or numbers[-1] >= stop or (np.diff(numbers) <= 0).any():
                raise DamagedError(f"its rows for shard {span.shard} are not in order, or not of that shard")
            least = int(numbers[-1]) + 1
        yield rows


def _compress(maps: NDArray[np.uint8]) -> bool:
    """Return whether compression is worth it, estimated from a sample of the maps."""
    some = maps[:: max(1, len(maps) // _SAMPLE)][:_SAMPLE]
    return is_worth_compressing(compressed_size(some), some.nbytes)


def check_span(data: bytes | memoryview, span: Span) -> None:
    """Check a span's size and SHA-256.

    Raises:
        DamagedError: They differ.
    """
    if len(data) != span.size:
        raise DamagedError(f"it ends {span.size - len(data)} bytes too early")
    if hashlib.sha256(data).hexdigest() != span.sha256:
        raise DamagedError(f"bytes {span.offset} to {span.offset + span.size} have changed since they were written")
