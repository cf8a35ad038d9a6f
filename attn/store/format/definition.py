"""What a store is, fixed when it is made: `store.json` and the index of its rows."""

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
from attn.store.format.codec import MOST_ROWS, row_bytes, schema_of
from attn.store.format.delta import ROW
from attn.store.format.records import NAME, STRICT, Number, Sha256, pack, typed, unpack

DEFINITION = "store.json"
FORMATS = {"max": 1, "mean": 2}
"""The format in which a store of each fusion is made; those up to it can be read."""
_SHARD_BYTES = 32 << 20
_MOST_SHARDS = 256
_LARGEST_SHARD = 64 << 30
"""Bytes of a shard's rows: far more than fit into an object, which has 5 GiB at most."""

Side = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True)
class Definition:
    """A store's grid, fusion and rows.

    Attributes:
        uuid: Of this store; no other has it.
        grid: (h, w) of every map.
        rows: How many.
        images: How many.
        rows_per_shard: About how many rows a base object holds.
        classes: Names of the classes; empty where none were given.
        fingerprint: Of the data set.
        index: Key of the index object.
        index_sha256: Of that object.
        rows_digest: Of the rows themselves.
        format: Which columns its objects have.
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
        """h·w."""
        return self.grid[0] * self.grid[1]

    @property
    def algebra(self) -> Fusion:
        """How maps join."""
        return FUSIONS[self.fusion] if self.is_writable else MEAN_OF_FORMAT_1

    @property
    def base_schema(self) -> pa.Schema:
        """Columns of base objects."""
        return schema_of(self.algebra.kept, self.fusion, self.grid)

    @property
    def delta_schema(self) -> pa.Schema:
        """Columns of delta objects."""
        return schema_of((ROW, *self.algebra.added), self.fusion, self.grid)

    @property
    def is_writable(self) -> bool:
        """Whether runs may begin in the store; those of an earlier format can be read only."""
        return self.format == FORMATS[self.fusion]

    def check_writable(self, uri: str) -> None:
        """Raise unless runs may begin in the store.

        Raises:
            StoreError: It is of a format that can be read only.
        """
        if not self.is_writable:
            raise StoreError(
                f"{uri} was made by an earlier version of this program (format {self.format}), which counted what a "
                f"crop did not see as 0 in the {self.fusion}; it can be read but no longer written: begin a new run "
                "with a new store"
            )

    def pack(self) -> bytes:
        """As the bytes of `store.json`."""
        return pack(dataclasses.asdict(self))

    @classmethod
    def unpack(cls, data: bytes, name: str) -> Definition:
        """What `pack` made.

        Raises:
            DamagedError: It is damaged.
            StoreError: A later program made it.
        """
        record = unpack(data, name)
        newest = FORMATS.get(str(record.get("fusion")), 0)
        if record.get("format") not in range(1, newest + 1):
            made = f"format {record.get('format')}, fusion {record.get('fusion')}"
            readable = ", ".join(f"{fusion} up to format {number}" for fusion, number in FORMATS.items())
            raise StoreError(f"{name} has {made}; this program reads {readable}: update it")
        found = typed(record, name, cls)
        shard = min(found.rows, found.rows_per_shard + MOST_ROWS) * row_bytes(found.base_schema)
        if shard > _LARGEST_SHARD or found.images > found.rows:
            raise DamagedError(
                f"{name} is damaged: {found.rows} rows of {found.images} images on a grid of {found.grid}, "
                f"{found.rows_per_shard} rows a shard, are no store"
            )
        return found


def rows_per_shard(rows: int, pixels: int) -> int:
    """Rows of a shard: 32 MiB of maps, or more where there would be over 256 shards; whole record batches."""
    count = max(_SHARD_BYTES // pixels, -(-rows // _MOST_SHARDS), 1)
    return -(-count // MOST_ROWS) * MOST_ROWS


def check_name(what: str, name: str) -> str:
    """A run's or tag's name, which becomes part of object names.

    Raises:
        StoreError: It is none.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise StoreError(f"{what} {name!r}: use up to 128 letters, digits, '.', '_' and '-', first a letter or digit")
    return name
