"""The map store: cumulative attention maps of a data set in numbered versions, in a folder or an object store."""

from __future__ import annotations

__all__ = [
    "ConditionsIgnoredError",
    "CoverageError",
    "DamagedError",
    "DeltaRef",
    "FencedError",
    "MapError",
    "MapStore",
    "Session",
    "Snapshot",
    "StoreAwayError",
    "StoreError",
    "VersionError",
    "Writer",
    "create",
    "open",
]

from attn.store.create import create
from attn.store.create import open_store as open
from attn.store.errors import (
    ConditionsIgnoredError,
    CoverageError,
    DamagedError,
    FencedError,
    MapError,
    StoreAwayError,
    StoreError,
    VersionError,
)
from attn.store.format.delta import DeltaRef
from attn.store.protocol.session import Session
from attn.store.protocol.writer import Writer
from attn.store.reader import Snapshot
from attn.store.store import MapStore
