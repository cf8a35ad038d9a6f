"""What a store is, fixed when it is made: `store.json` and the index of its rows."""

from __future__ import annotations

__all__ = ["DEFINITION", "Definition", "check_name", "rows_per_shard"]

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from attn.store.algebra import FUSIONS, MEAN_OF_FORMAT_1, Fusion
from attn.store.codec import MOST_ROWS, schema_of
from attn.store.delta import ROW
from attn.store.errors import StoreError
from attn.store.records import pack, unpack

DEFINITION = "store.json"
FORMATS = {"max": 1, "mean": 2}
"""The format in which a store of each fusion is made; those up to it can be read."""
_SHARD_BYTES = 32 << 20
_MOST_SHARDS = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


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

    uuid: str
    grid: tuple[int, int]
    fusion: str
    rows: int
    images: int
    rows_per_shard: int
    classes: tuple[str, ...]
    fingerprint: str
    index: str
    index_sha256: str
    rows_digest: str
    format: int

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
        record: dict[str, Any] = unpack(data, name)
        newest = FORMATS.get(record.get("fusion", ""), 0)
        if record.get("format") not in range(1, newest + 1):
            made = f"format {record.get('format')}, fusion {record.get('fusion')}"
            readable = ", ".join(f"{fusion} up to format {number}" for fusion, number in FORMATS.items())
            raise StoreError(f"{name} has {made}; this program reads {readable}: update it")
        record |= {"grid": tuple(record["grid"]), "classes": tuple(record["classes"])}
        return cls(**record)


def rows_per_shard(rows: int, pixels: int) -> int:
    """Rows of a shard: 32 MiB of maps, or more where there would be over 256 shards; whole record batches."""
    count = max(_SHARD_BYTES // pixels, -(-rows // _MOST_SHARDS), 1)
    return -(-count // MOST_ROWS) * MOST_ROWS


def check_name(what: str, name: str) -> str:
    """A run's or tag's name, which becomes part of object names.

    Raises:
        StoreError: It is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StoreError(f"{what} {name!r}: use up to 128 letters, digits, '.', '_' and '-', first a letter or digit")
    return name
