"""Checks that a manifest is consistent with itself and with the store's rows.

A manifest with a correct hash and correct types may still name shards that the store does not have, spans outside of
their object, or more rows than a shard holds. Every reader checks a manifest here before using it.
"""

from __future__ import annotations

__all__ = ["manifest_faults"]

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from attn.store.format.codec import batch_count, max_bytes, table_length
from attn.store.format.definition import Definition
from attn.store.format.delta import DeltaObject, DeltaRef, Span
from attn.store.format.manifest import Manifest, ShardRef


def manifest_faults(manifest: Manifest, definition: Definition, shard_bounds: NDArray[np.int64]) -> Iterator[str]:
    """Descriptions of everything that is wrong with a manifest.

    Args:
        shard_bounds: First row of each shard, then the number of rows.
    """
    rows = np.diff(shard_bounds).tolist()
    if any(second.shard <= first.shard for first, second in pairwise(manifest.shards)):
        yield "its shards are not in order, or one is listed twice"
    if manifest.accepted + manifest.fallback < (manifest.merged.get("rows") or 0):
        yield f"its commit merged {manifest.merged['rows']} rows, but it has {manifest.accepted + manifest.fallback}"
    for ref in manifest.shards:
        yield from _of_base(ref, definition, rows)
    for delta in manifest.pending:
        for item in delta.objects:
            yield from _of_delta(delta, item, definition, rows)


def _of_base(ref: ShardRef, definition: Definition, rows: list[int]) -> Iterator[str]:
    if not ref.key.startswith(f"base/{ref.shard:05d}/"):
        yield f"{ref.key} is not an object of shard {ref.shard}"
    if ref.shard >= len(rows):
        yield f"it has shard {ref.shard}, but the store has only {len(rows)} shards"
        return
    count, schema = rows[ref.shard], definition.base_schema
    batches = batch_count(count, schema)
    if ref.accepted + ref.fallback > count:
        yield f"{ref.key} has {ref.accepted} accepted and {ref.fallback} fallback maps of {count} rows"
    if ref.size > max_bytes(schema, batches, count):
        yield f"{ref.key} has {ref.size} bytes, more than {count} rows can need"
    if ref.table + table_length(batches) > ref.size:
        yield f"{ref.key} has its table beyond its end"


def _of_delta(delta: DeltaRef, item: DeltaObject, definition: Definition, rows: list[int]) -> Iterator[str]:
    if not item.key.startswith(f"delta/{delta.run}/{delta.attempt}/"):
        yield f"{item.key} is not an object of session {delta.attempt} of run {delta.run}"
    if delta.epoch is None:
        yield f"{item.key} has no epoch"
    schema = definition.delta_schema
    for span in item.spans:
        if span.shard >= len(rows) or span.rows > rows[span.shard]:
            yield f"{item.key} has {span.rows} rows of shard {span.shard}, more than the store has"
    if item.size > max_bytes(schema, item.rows, item.rows) or sum(span.rows for span in item.spans) != item.rows:
        yield f"{item.key} has {item.size} bytes and {item.rows} rows, which its spans contradict"
    if item.accepted > item.rows:
        yield f"{item.key} has {item.accepted} accepted maps of {item.rows} rows"
    if any(not _follow(first, second) for first, second in pairwise(item.spans)) or _end(item.spans[-1]) > item.size:
        yield f"the spans of {item.key} are not adjacent, or exceed it"


def _follow(first: Span, second: Span) -> bool:
    return second.shard > first.shard and second.offset == _end(first)


def _end(span: Span) -> int:
    return span.offset + span.size
