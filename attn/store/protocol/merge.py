"""Merge a shard's base object and deltas into a new base object, as plain functions that any process may run.

A task reads its part of each delta once, writes new objects under unique names, and returns references to them. It is
safe to run a task twice or not at all: an object that no manifest names is garbage.
"""

from __future__ import annotations

__all__ = ["MergeTask", "MergedShard", "DeltaPart", "ShardTask", "merge", "plan"]

import contextlib
import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attn.store.errors import DamagedError, MissingError
from attn.store.format.algebra import ACCEPTED, FALLBACK, Columns
from attn.store.format.base_object import batches_in, check_base, encode_base
from attn.store.format.codec import is_worth_compressing, row_bytes, rows_per_batch, stream
from attn.store.format.definition import Definition
from attn.store.format.delta import DeltaRef, Span, check_span, read_span
from attn.store.format.manifest import Manifest, ShardRef
from attn.store.protocol import failpoints
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.overlap_io import overlap_io

SHARDS_PER_TASK = 4
_STRIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class DeltaPart:
    """The part of one delta object for a task's shards: neighbouring spans, which are one read.

    Attributes:
        epoch: The epoch of its maps.
    """

    key: str
    epoch: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class ShardTask:
    """One shard: its rows [start, stop), and its present base object."""

    shard: int
    start: int
    stop: int
    base: ShardRef | None


@dataclass(frozen=True)
class MergeTask:
    """Neighbouring shards that are merged together; plain data that can be pickled.

    Attributes:
        epoch: The epoch whose rows are counted.
        version: The version of the present base objects, for messages.
        prefix: Prefix of the new objects' names.
    """

    handle: StoreHandle
    version: int
    epoch: int
    prefix: str
    shards: tuple[ShardTask, ...]
    delta_parts: tuple[DeltaPart, ...]


@dataclass(frozen=True)
class MergedShard:
    """A new base object.

    Attributes:
        covered: One bit per row of the shard, packed: whether the row got a map in this epoch.
        accepted: Number of rows that got an accepted map in this epoch.
        fallback: Number of rows that got only a fallback map.
    """

    ref: ShardRef
    covered: bytes
    accepted: int
    fallback: int


def plan(
    handle: StoreHandle, manifest: Manifest, deltas: Sequence[DeltaRef], epoch: int, prefix: str
) -> list[MergeTask]:
    """The tasks that merge deltas into a version. Every delta's epoch is known.

    Raises:
        DamagedError: The version's manifest contradicts itself or the store's definition.
    """
    handle.check(manifest)
    objects = sorted(
        ((ref.epoch or 0, item) for ref in deltas for item in ref.objects), key=lambda pair: (pair[0], pair[1].key)
    )
    touched = sorted({span.shard for _, item in objects for span in item.spans})
    bases = {ref.shard: ref for ref in manifest.shards}
    tasks: list[MergeTask] = []
    for start in range(0, len(touched), SHARDS_PER_TASK):
        group = touched[start : start + SHARDS_PER_TASK]
        delta_parts: list[DeltaPart] = []
        for of_epoch, item in objects:
            spans = tuple(span for span in item.spans if group[0] <= span.shard <= group[-1])
            if spans:
                delta_parts.append(DeltaPart(item.key, of_epoch, spans))
        shards = tuple(
            ShardTask(n, int(handle.shard_bounds[n]), int(handle.shard_bounds[n + 1]), bases.get(n)) for n in group
        )
        tasks.append(MergeTask(handle, manifest.version, epoch, prefix, shards, tuple(delta_parts)))
    return tasks


def merge(task: MergeTask) -> list[MergedShard]:
    """Merge a task's shards.

    Raises:
        DamagedError: An object is missing or damaged; the message names it and the version.
    """
    data: dict[int, memoryview] = {}
    for number, delta_part in enumerate(task.delta_parts):
        begin, end = delta_part.spans[0].offset, delta_part.spans[-1].offset + delta_part.spans[-1].size
        with _naming_the_object(task, delta_part.key, "a delta of"):
            data[number] = memoryview(task.handle.backend.read(delta_part.key, begin, end))
        _drop_from_page_cache(task.handle, delta_part.key, begin, end)
    return [_merge_shard(task, shard, data) for shard in task.shards]


def _merge_shard(task: MergeTask, shard: ShardTask, data: dict[int, memoryview]) -> MergedShard:
    count, schema = shard.stop - shard.start, task.handle.definition.base_schema
    spans = [
        (delta_part, span, data[number][span.offset - delta_part.spans[0].offset :][: span.size])
        for number, delta_part in enumerate(task.delta_parts)
        for span in delta_part.spans
        if span.shard == shard.shard
    ]
    base = _read_base(task, shard)
    failpoints.hit("merge.read")
    key = f"base/{shard.shard:05d}/{task.prefix}-{secrets.token_hex(8)}.arrow"
    # Compress only if the deltas, which are as noisy, were worth compressing.
    compress = is_worth_compressing(sum(span.size for _, span, _ in spans), count * row_bytes(schema))
    levels = np.zeros(count, np.uint8)

    def check() -> None:
        if shard.base is not None:
            with _naming_the_object(task, shard.base.key, "of"):
                check_base(base, shard.base)
        for delta_part, span, item in spans:
            with _naming_the_object(task, delta_part.key, "a delta of"):
                check_span(item, span)

    def join() -> tuple[Callable[[], ShardRef], memoryview]:
        rows = None if shard.base is None else _base_rows(task, shard, shard.base, base)
        deltas = [
            (delta_part.epoch, _DeltaRows(_delta_rows(task, shard, delta_part, span, item)))
            for delta_part, span, item in spans
        ]
        joined = _joined_rows(task.handle.definition, shard, rows, deltas, task.epoch, levels)
        return encode_base(shard.shard, key, joined, count, schema, compress=compress)

    # Checking overlaps with joining: nothing is written before the check has passed.
    _, (describe, encoded) = overlap_io(check, join)
    ref, _ = overlap_io(describe, lambda: task.handle.backend.write(key, encoded))
    failpoints.hit("merge.written")
    accepted, fallback = (int(np.count_nonzero(levels == level)) for level in (ACCEPTED, FALLBACK))
    return MergedShard(ref, np.packbits(levels > 0).tobytes(), accepted, fallback)


def _read_base(task: MergeTask, shard: ShardTask) -> bytes:
    """Bytes of the shard's present base object; empty if it has none."""
    if shard.base is None:
        return b""
    with _naming_the_object(task, shard.base.key, "of"):
        data = task.handle.backend.read(shard.base.key, 0, shard.base.size + 1)
    _drop_from_page_cache(task.handle, shard.base.key, 0, 0)
    return data


def _base_rows(task: MergeTask, shard: ShardTask, ref: ShardRef, data: bytes) -> Iterator[Columns]:
    """The rows of the shard's present base object, one record batch at a time."""
    count, schema = shard.stop - shard.start, task.handle.definition.base_schema
    batch, left = rows_per_batch(schema), count
    with _naming_the_object(task, ref.key, "of"):
        for rows in stream(batches_in(data, ref, count, schema), schema, count):
            if len(rows["level"]) != min(batch, left):
                raise DamagedError(f"a record batch has {len(rows['level'])} rows and not {min(batch, left)}")
            left -= len(rows["level"])
            yield rows


def _delta_rows(
    task: MergeTask, shard: ShardTask, delta_part: DeltaPart, span: Span, data: memoryview
) -> Iterator[Columns]:
    """A delta's rows of one shard."""
    with _naming_the_object(task, delta_part.key, "a delta of"):
        yield from read_span(data, span, task.handle.definition.delta_schema, shard.start, shard.stop)


def _drop_from_page_cache(handle: StoreHandle, key: str, begin: int, end: int) -> None:
    """Free the kernel's page cache for files that are read again: newer versions, and the training's images.

    Args:
        end: 0: up to the object's end.
    """
    path = handle.backend.path(key)
    if path is None or not hasattr(os, "posix_fadvise"):
        return
    with contextlib.suppress(OSError):  # only a hint to the kernel
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _joined_rows(
    definition: Definition,
    shard: ShardTask,
    base: Iterator[Columns] | None,
    deltas: Sequence[tuple[int, _DeltaRows]],
    epoch: int,
    levels: NDArray[np.uint8],
) -> Iterator[Columns]:
    """The rows of the new base in stripes of whole record batches, small enough for the CPU's cache.

    Args:
        levels: Output: levels of the rows that the epoch's deltas hold.
    """
    count, batch = shard.stop - shard.start, rows_per_batch(definition.base_schema)
    stripe = batch * max(1, _STRIPE_BYTES // (batch * definition.pixels))
    buffer = definition.algebra.empty(min(stripe, count), definition.pixels)
    for first in range(0, count, stripe):
        size = min(stripe, count - first)
        rows = {name: values[:size] for name, values in buffer.items()}
        _fill(rows, size, base)
        for of_epoch, delta in deltas:
            for new in delta.until(shard.start + first + size):
                at = new["row"] - (shard.start + first)
                definition.algebra.join(rows, at, new, of_epoch)
                if of_epoch == epoch:
                    levels[first + at] = np.maximum(levels[first + at], new["level"])
        yield rows


def _fill(rows: Columns, size: int, base: Iterator[Columns] | None) -> None:
    """Overwrite rows with the next rows of the base; with zeros if there is no base."""
    if base is None:
        for values in rows.values():
            values[...] = 0
        return
    done = 0
    while done < size:
        result = next(base)
        stop = done + len(result["level"])
        for name, values in rows.items():
            values[done:stop] = result[name]
        done = stop


class _DeltaRows:
    """Iterates over a delta's rows in ascending order, up to a given row at a time."""

    def __init__(self, batches: Iterator[Columns]) -> None:
        self._batches = batches
        self._rest = next(batches, None)

    def until(self, stop: int) -> Iterator[Columns]:
        """The rows below `stop` that were not returned yet."""
        while self._rest is not None:
            cut = int(np.searchsorted(self._rest["row"], stop))
            if cut:
                yield {name: values[:cut] for name, values in self._rest.items()}
            if cut < len(self._rest["row"]):
                self._rest = {name: values[cut:] for name, values in self._rest.items()}
                return
            self._rest = next(self._batches, None)


@contextlib.contextmanager
def _naming_the_object(task: MergeTask, key: str, of: str) -> Generator[None]:
    """Prefix errors inside the `with` block with the object's name and version."""
    where = f"{task.handle.backend.uri}: {key}, {of} version {task.version}"
    try:
        yield
    except MissingError:
        raise DamagedError(f"{where}, is missing") from None
    except DamagedError as error:
        raise DamagedError(f"{where}, is damaged: {error}") from None
