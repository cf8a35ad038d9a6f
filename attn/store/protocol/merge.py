"""Merging: base object and deltas to a new base object, as plain functions that any process may run.

A task reads its part of each delta once, writes new objects under names that nobody else uses, and returns what it
wrote. Running it twice, or not at all, harms nothing: what no manifest names is garbage.
"""

from __future__ import annotations

__all__ = ["MergeTask", "MergedShard", "Part", "ShardTask", "merge", "plan"]

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
from attn.store.format.codec import batch_of, is_worth_compressing, row_bytes, stream
from attn.store.format.definition import Definition
from attn.store.format.delta import DeltaRef, Span, check_span, read_span
from attn.store.format.manifest import Manifest, ShardRef
from attn.store.protocol import failpoints
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.overlap_io import overlap_io

SHARDS_PER_TASK = 4
_STRIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Part:
    """What one delta object holds for a task's shards: neighbours, so that they are one read.

    Attributes:
        epoch: That its maps count for.
    """

    key: str
    epoch: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class ShardTask:
    """One shard: its rows [start, stop), and its base object so far."""

    shard: int
    start: int
    stop: int
    base: ShardRef | None


@dataclass(frozen=True)
class MergeTask:
    """Neighbouring shards that are merged together; plain data.

    Attributes:
        epoch: Whose rows are to be counted.
        version: The version that the base belongs to, for messages.
        prefix: Of the new objects' names.
    """

    handle: StoreHandle
    version: int
    epoch: int
    prefix: str
    shards: tuple[ShardTask, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class MergedShard:
    """A new base object.

    Attributes:
        covered: Bits of the shard's rows that got a map in this epoch, packed.
        accepted: Accepted maps that were merged, of this epoch, each row once.
        fallback: Rows that got nothing but a fallback map.
    """

    ref: ShardRef
    covered: bytes
    accepted: int
    fallback: int


def plan(
    handle: StoreHandle, manifest: Manifest, deltas: Sequence[DeltaRef], epoch: int, prefix: str
) -> list[MergeTask]:
    """The tasks that merge deltas, each of which knows its epoch, into a version.

    Raises:
        DamagedError: What the version says of its objects does not go together.
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
        parts: list[Part] = []
        for of_epoch, item in objects:
            spans = tuple(span for span in item.spans if group[0] <= span.shard <= group[-1])
            if spans:
                parts.append(Part(item.key, of_epoch, spans))
        shards = tuple(ShardTask(n, int(handle.cuts[n]), int(handle.cuts[n + 1]), bases.get(n)) for n in group)
        tasks.append(MergeTask(handle, manifest.version, epoch, prefix, shards, tuple(parts)))
    return tasks


def merge(task: MergeTask) -> list[MergedShard]:
    """Merge a task's shards.

    Raises:
        DamagedError: An object is missing or not what was written; names it and the version.
    """
    data: dict[int, memoryview] = {}
    for number, part in enumerate(task.parts):
        begin, end = part.spans[0].offset, part.spans[-1].offset + part.spans[-1].size
        with _named(task, part.key, "a delta of"):
            data[number] = memoryview(task.handle.backend.read(part.key, begin, end))
        _let_go(task.handle, part.key, begin, end)
    return [_merge_shard(task, shard, data) for shard in task.shards]


def _merge_shard(task: MergeTask, shard: ShardTask, data: dict[int, memoryview]) -> MergedShard:
    count, schema = shard.stop - shard.start, task.handle.definition.base_schema
    spans = [
        (part, span, data[number][span.offset - part.spans[0].offset :][: span.size])
        for number, part in enumerate(task.parts)
        for span in part.spans
        if span.shard == shard.shard
    ]
    base = _read_base(task, shard)
    failpoints.hit("merge.read")
    key = f"base/{shard.shard:05d}/{task.prefix}-{secrets.token_hex(8)}.arrow"
    # What fills the shard and did not get smaller itself will not now.
    compress = is_worth_compressing(sum(span.size for _, span, _ in spans), count * row_bytes(schema))
    levels = np.zeros(count, np.uint8)

    def check() -> None:
        if shard.base is not None:
            with _named(task, shard.base.key, "of"):
                check_base(base, shard.base)
        for part, span, found in spans:
            with _named(task, part.key, "a delta of"):
                check_span(found, span)

    def join() -> tuple[Callable[[], ShardRef], memoryview]:
        rows = None if shard.base is None else _base_rows(task, shard, shard.base, base)
        deltas = [(part.epoch, _Delta(_delta_rows(task, shard, part, span, found))) for part, span, found in spans]
        joined = _joined(task.handle.definition, shard, rows, deltas, task.epoch, levels)
        return encode_base(shard.shard, key, joined, count, schema, compress=compress)

    # What is joined before it was found to be right is in memory only.
    _, (describe, encoded) = overlap_io(check, join)
    ref, _ = overlap_io(describe, lambda: task.handle.backend.write(key, encoded))
    failpoints.hit("merge.written")
    accepted, fallback = (int(np.count_nonzero(levels == level)) for level in (ACCEPTED, FALLBACK))
    return MergedShard(ref, np.packbits(levels > 0).tobytes(), accepted, fallback)


def _read_base(task: MergeTask, shard: ShardTask) -> bytes:
    """The shard's object so far; nothing where it has none."""
    if shard.base is None:
        return b""
    with _named(task, shard.base.key, "of"):
        data = task.handle.backend.read(shard.base.key, 0, shard.base.size + 1)
    _let_go(task.handle, shard.base.key, 0, 0)
    return data


def _base_rows(task: MergeTask, shard: ShardTask, ref: ShardRef, data: bytes) -> Iterator[Columns]:
    """The rows of a shard's object so far, whole record batches at a time."""
    count, schema = shard.stop - shard.start, task.handle.definition.base_schema
    batch, left = batch_of(schema), count
    with _named(task, ref.key, "of"):
        for rows in stream(batches_in(data, ref, count, schema), schema, count):
            if len(rows["level"]) != min(batch, left):
                raise DamagedError(f"a record batch has {len(rows['level'])} rows and not {min(batch, left)}")
            left -= len(rows["level"])
            yield rows


def _delta_rows(task: MergeTask, shard: ShardTask, part: Part, span: Span, data: memoryview) -> Iterator[Columns]:
    """The rows that a delta has of a shard."""
    with _named(task, part.key, "a delta of"):
        yield from read_span(data, span, task.handle.definition.delta_schema, shard.start, shard.stop)


def _let_go(handle: StoreHandle, key: str, begin: int, end: int) -> None:
    """Leave the kernel's cache to files that are read again: newer versions, and the images of a training.

    Args:
        end: 0 for the object's end.
    """
    path = handle.backend.path(key)
    if path is None or not hasattr(os, "posix_fadvise"):
        return
    with contextlib.suppress(OSError):  # it is about memory only
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _joined(
    definition: Definition,
    shard: ShardTask,
    base: Iterator[Columns] | None,
    deltas: Sequence[tuple[int, _Delta]],
    epoch: int,
    levels: NDArray[np.uint8],
) -> Iterator[Columns]:
    """The rows of the new base by stripes of whole record batches that fit into a cache; never all at once.

    Args:
        levels: Is filled with the levels of the rows that the epoch's deltas hold.
    """
    count, batch = shard.stop - shard.start, batch_of(definition.base_schema)
    stripe = batch * max(1, _STRIPE_BYTES // (batch * definition.pixels))
    buffer = definition.algebra.empty(min(stripe, count), definition.pixels)
    for first in range(0, count, stripe):
        size = min(stripe, count - first)
        rows = {name: values[:size] for name, values in buffer.items()}
        _fill(rows, size, base)
        for of_epoch, delta in deltas:
            for part in delta.until(shard.start + first + size):
                at = part["row"] - (shard.start + first)
                definition.algebra.join(rows, at, part, of_epoch)
                if of_epoch == epoch:
                    levels[first + at] = np.maximum(levels[first + at], part["level"])
        yield rows


def _fill(rows: Columns, size: int, base: Iterator[Columns] | None) -> None:
    """Overwrite rows with the next ones of the base, or with nothing where there is none."""
    if base is None:
        for values in rows.values():
            values[...] = 0
        return
    done = 0
    while done < size:
        found = next(base)
        stop = done + len(found["level"])
        for name, values in rows.items():
            values[done:stop] = found[name]
        done = stop


class _Delta:
    """A delta's rows in ascending order, handed out as they are asked for."""

    def __init__(self, batches: Iterator[Columns]) -> None:
        self._batches = batches
        self._rest = next(batches, None)

    def until(self, stop: int) -> Iterator[Columns]:
        """The rows below `stop` that were not handed out yet."""
        while self._rest is not None:
            cut = int(np.searchsorted(self._rest["row"], stop))
            if cut:
                yield {name: values[:cut] for name, values in self._rest.items()}
            if cut < len(self._rest["row"]):
                self._rest = {name: values[cut:] for name, values in self._rest.items()}
                return
            self._rest = next(self._batches, None)


@contextlib.contextmanager
def _named(task: MergeTask, key: str, of: str) -> Generator[None]:
    """Within, object and version stand before what is wrong with it."""
    where = f"{task.handle.backend.uri}: {key}, {of} version {task.version}"
    try:
        yield
    except MissingError:
        raise DamagedError(f"{where}, is missing") from None
    except DamagedError as error:
        raise DamagedError(f"{where}, is damaged: {error}") from None
