"""The definition of a store, `store.json`, fixed when the store is created."""

from __future__ import annotations

__all__ = ["DEFINITION", "Definition", "check_name", "rows_per_shard"]

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from attn.store.errors import DamagedError, StoreError
from attn.store.format.algebra import FUSIONS, MEAN_OF_FORMAT_1, Fusion
from attn.store.format.codec import MAX_BATCH_ROWS, arrow_schema, row_bytes
from attn.store.format.delta import ROW
from attn.store.format.records import NAME, STRICT, Number, Sha256, pack, unpack, validate_record

DEFINITION = "store.json"
FORMATS = {"max": 1, "mean": 2}
"""Newest format of each fusion, in which new stores are created; older formats can be read."""
_SHARD_BYTES = 32 << 20
_MAX_SHARDS = 256
_MAX_SHARD_BYTES = 64 << 30
"""Maximum bytes of a shard's rows; far more than fit into an object of at most 5 GiB."""

Side = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True)
class Definition:
    """A store's grid, fusion and rows.

    Attributes:
        uuid: Unique identifier of this store.
        grid: (h, w) of every map.
        rows: Number of rows.
        images: Number of images.
        rows_per_shard: Approximate number of rows of a base object.
        classes: Class names; empty if none were given.
        fingerprint: Fingerprint of the data set.
        index: Key of the index object.
        index_sha256: SHA-256 of the index object.
        rows_digest: SHA-256 of the rows themselves.
        format: Version of the columns of base and delta objects.
    """

    __pydantic_config__ = STRICT

    uuid: Annotated[str, Field(pattern="^[0-9a-f-]{1,64}$")]
    grid: tuple[Side, Side]
    fusion: str
    rows: Number
    images: Number
    rows_per_shard: Number
    classes: tuple[str, ...]
    fingerprint: str
    index: Annotated[str, Field(pattern="^index/[A-Za-z0-9_.-]{1,128}$")]
    index_sha256: Sha256
    rows_digest: Sha256
    format: Number

    @property
    def pixels(self) -> int:
        """Pixels of a map, h·w."""
        return self.grid[0] * self.grid[1]

    @property
    def algebra(self) -> Fusion:
        """The rule that joins maps."""
        return FUSIONS[self.fusion] if self.is_writable else MEAN_OF_FORMAT_1

    @property
    def base_schema(self) -> pa.Schema:
        """Columns of base objects."""
        return arrow_schema(self.algebra.kept, self.fusion, self.grid)

    @property
    def delta_schema(self) -> pa.Schema:
        """Columns of delta objects."""
        return arrow_schema((ROW, *self.algebra.added), self.fusion, self.grid)

    @property
    def is_writable(self) -> bool:
        """Return whether runs may begin in the store; stores of an older format are read-only."""
        return self.format == FORMATS[self.fusion]

    def check_writable(self, uri: str) -> None:
        """Check that runs may begin in the store.

        Raises:
            StoreError: The store has a read-only format.
        """
        if not self.is_writable:
            raise StoreError(
                f"{uri} was created by an older version of attn (format {self.format}), which counted pixels that a "
                f"crop did not see as 0 in the {self.fusion}; it is read-only: begin a new run with a new store"
            )

    def pack(self) -> bytes:
        """The bytes of `store.json`."""
        return pack(dataclasses.asdict(self))

    @classmethod
    def unpack(cls, data: bytes, name: str) -> Definition:
        """Parse the bytes of `store.json`.

        Raises:
            DamagedError: They are damaged.
            StoreError: A newer version of attn created the store.
        """
        record = unpack(data, name)
        newest = FORMATS.get(str(record.get("fusion")), 0)
        if record.get("format") not in range(1, newest + 1):
            given = f"format {record.get('format')}, fusion {record.get('fusion')}"
            readable = ", ".join(f"{fusion} up to format {number}" for fusion, number in FORMATS.items())
            raise StoreError(f"{name} has {given}; this version of attn reads {readable}: update attn")
        result = validate_record(record, name, cls)
        shard = min(result.rows, result.rows_per_shard + MAX_BATCH_ROWS) * row_bytes(result.base_schema)
        if shard > _MAX_SHARD_BYTES or result.images > result.rows:
            raise DamagedError(
                f"{name} is damaged: {result.rows} rows of {result.images} images on a grid of {result.grid}, "
                f"{result.rows_per_shard} rows per shard, are impossible"
            )
        return result


def rows_per_shard(rows: int, pixels: int) -> int:
    """Rows per shard: 32 MiB of maps, or more to have at most 256 shards; a multiple of a record batch."""
    count = max(_SHARD_BYTES // pixels, -(-rows // _MAX_SHARDS), 1)
    return -(-count // MAX_BATCH_ROWS) * MAX_BATCH_ROWS


def check_name(what: str, name: str) -> str:
    """Check a run's or tag's name, which becomes part of object names, and return it.

    Raises:
        StoreError: The name is not allowed.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise StoreError(
            f"{what} {name!r} is not allowed; use up to 128 letters, digits, '.', '_' and '-', starting with a letter "
            "or digit"
        )
    return name
