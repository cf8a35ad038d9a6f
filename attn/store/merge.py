"""Merging: base object and deltas to a new base object, as plain functions that any process may run.

A task reads its part of each delta once, writes new objects under names that nobody else uses, and returns what it
wrote. Running it twice, or not at all, harms nothing: what no manifest names is garbage.
"""

from __future__ import annotations

__all__ = ["MergeTask", "MergedShard", "Part", "ShardTask", "merge", "plan"]

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from attn.store.algebra import ACCEPTED, FALLBACK, Columns
from attn.store.base_object import encode_base, read_base
from attn.store.delta import DeltaRef, Span, read_span
from attn.store.errors import DamagedError, MissingError
from attn.store.manifest import Manifest, ShardRef
from attn.store.place import Place
from attn.store.points import reach

SHARDS_PER_TASK = 4


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

    place: Place
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


def plan(place: Place, manifest: Manifest, deltas: Sequence[DeltaRef], epoch: int, prefix: str) -> list[MergeTask]:
    """The tasks that merge deltas, each of which knows its epoch, into a version."""
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
        shards = tuple(ShardTask(n, int(place.cuts[n]), int(place.cuts[n + 1]), bases.get(n)) for n in group)
        tasks.append(MergeTask(place, manifest.version, epoch, prefix, shards, tuple(parts)))
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
            data[number] = memoryview(task.place.backend.read(part.key, begin, end))
    return [_merge_shard(task, shard, data) for shard in task.shards]


def _merge_shard(task: MergeTask, shard: ShardTask, data: dict[int, memoryview]) -> MergedShard:
    definition, count = task.place.definition, shard.stop - shard.start
    if shard.base is None:
        rows = definition.algebra.empty(count, definition.pixels)
    else:
        with _named(task, shard.base.key, "of"):
            rows = read_base(task.place.backend, shard.base, count, definition.base_schema)
    levels = np.zeros(count, np.uint8)
    for epoch, delta in _deltas(task, shard, data):
        at = delta["row"] - shard.start
        definition.algebra.join(rows, at, delta["level"], delta["map"], epoch)
        if epoch == task.epoch:
            levels[at] = np.maximum(levels[at], delta["level"])
    reach("merge.read")
    key = f"base/{shard.shard:05d}/{task.prefix}-{secrets.token_hex(8)}.arrow"
    ref, encoded = encode_base(shard.shard, key, rows, definition.base_schema)
    task.place.backend.write(key, encoded)
    reach("merge.written")
    accepted, fallback = (int(np.count_nonzero(levels == level)) for level in (ACCEPTED, FALLBACK))
    return MergedShard(ref, np.packbits(levels > 0).tobytes(), accepted, fallback)


def _deltas(task: MergeTask, shard: ShardTask, data: dict[int, memoryview]) -> Iterator[tuple[int, Columns]]:
    for number, part in enumerate(task.parts):
        for span in part.spans:
            if span.shard == shard.shard:
                begin = span.offset - part.spans[0].offset
                with _named(task, part.key, "a delta of"):
                    delta = read_span(data[number][begin : begin + span.size], span, task.place.definition.delta_schema)
                yield part.epoch, delta


class _named:  # noqa: N801  # a context manager reads like a verb
    """Puts object and version before what is wrong with it."""

    def __init__(self, task: MergeTask, key: str, of: str) -> None:
        self.where = f"{task.place.backend.uri}: {key}, {of} version {task.version}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, MissingError):
            raise DamagedError(f"{self.where}, is missing") from None
        if isinstance(error, DamagedError):
            raise DamagedError(f"{self.where}, is damaged: {error}") from None
