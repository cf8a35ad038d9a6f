"""Create a map store, or open one."""

from __future__ import annotations

__all__ = ["create", "open_store"]

import hashlib
import uuid
from collections.abc import Iterable, Sequence

from attn.store.backends import Backend, connect
from attn.store.backends.conditional_writes import check_conditions
from attn.store.errors import MissingError, StoreError
from attn.store.format.algebra import FUSIONS
from attn.store.format.definition import DEFINITION, FORMATS, Definition, rows_per_shard
from attn.store.format.index import RowIndex
from attn.store.format.records import MAX_RECORD_BYTES
from attn.store.protocol.handle import StoreHandle
from attn.store.store import MapStore


def create(
    uri: str | Backend,
    *,
    rows: Iterable[tuple[str, int]],
    grid: tuple[int, int],
    fusion: str = "max",
    classes: Sequence[str] = (),
    fingerprint: str = "",
    shard_rows: int | None = None,
    exist_ok: bool = False,
) -> MapStore:
    """Create a store.

    Args:
        uri: A folder or `s3://bucket/prefix`.
        rows: (image id, class index) of every label of every image, in any order.
        grid: (h, w) of all maps. A map covers the whole image, whatever the image's aspect ratio.
        fusion: `max` or `mean`.
        classes: Class names by class index.
        fingerprint: Fingerprint of the data set; stored, not interpreted.
        shard_rows: Approximate number of rows per base object.
        exist_ok: Open an existing store if it has the same rows, classes, grid and fusion.

    Raises:
        MapError: A row is given twice, or there are no rows.
        StoreError: A store exists, the existing store has a read-only format, or an argument is out of range.
        ConditionsIgnoredError: The server ignores conditional writes.
    """
    if fusion not in FUSIONS:
        raise StoreError(f"fusion is {fusion!r}; use one of {', '.join(FUSIONS)}")
    if len(grid) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in grid):
        raise StoreError(f"grid is {grid!r}; it must be (height, width) of a map, each from 1 to 4096")
    if shard_rows is not None and shard_rows < 1:
        raise StoreError(f"shard_rows is {shard_rows}; it must be at least 1")
    index = RowIndex.build(rows)
    if classes and index.classes.max() >= len(classes):
        raise StoreError(f"a row has class {index.classes.max()}, but there are only {len(classes)} class names")
    backend = connect(uri) if isinstance(uri, str) else uri
    if backend.size(DEFINITION) is None:
        data = index.encode()
        sha256 = hashlib.sha256(data).hexdigest()
        definition = Definition(
            uuid=str(uuid.uuid4()),
            grid=(grid[0], grid[1]),
            fusion=fusion,
            rows=len(index),
            images=len(index.images),
            rows_per_shard=shard_rows or rows_per_shard(len(index), grid[0] * grid[1]),
            classes=tuple(classes),
            fingerprint=fingerprint,
            index=f"index/pairs-{sha256[:16]}.arrow",
            index_sha256=sha256,
            rows_digest=index.digest,
            format=FORMATS[fusion],
        )
        check_conditions(backend)
        backend.write(definition.index, data)
        if backend.create(DEFINITION, definition.pack()):
            return MapStore(StoreHandle(backend, definition))
    store = open_store(backend)
    if not exist_ok:
        raise StoreError(f"{backend.uri} already holds a store; open it, or choose another location")
    wanted = {"rows_digest": index.digest, "classes": tuple(classes), "grid": tuple(grid), "fusion": fusion}
    for name, value in wanted.items():
        result = getattr(store.definition, name)
        if result != value:
            what = "other rows" if name == "rows_digest" else f"{name} {result!r} instead of {value!r}"
            raise StoreError(f"{backend.uri} holds a store with {what}; choose another location")
    store.definition.check_writable(backend.uri)
    return store


def open_store(uri: str | Backend) -> MapStore:
    """Open a store.

    Raises:
        StoreError: There is none.
        DamagedError: Its definition is damaged.
    """
    backend = connect(uri) if isinstance(uri, str) else uri
    try:
        data = backend.read(DEFINITION, 0, MAX_RECORD_BYTES + 1)
    except MissingError:
        raise StoreError(f"{backend.uri} holds no map store: there is no {DEFINITION}") from None
    return MapStore(StoreHandle(backend, Definition.unpack(data, f"{backend.uri}: {DEFINITION}")))
