"""A store's backend, definition and row index in one object that is small when pickled."""

from __future__ import annotations

__all__ = ["StoreHandle"]

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.store.backends import Backend
from attn.store.errors import DamagedError, MissingError
from attn.store.format.definition import DEFINITION, Definition
from attn.store.format.index import RowIndex
from attn.store.format.manifest import Manifest, manifest_key
from attn.store.upkeep.consistency import manifest_faults

_MAX_INDEX_BYTES = 2 << 30


@dataclass(frozen=True)
class StoreHandle:
    """A store's backend and definition. The row index is read on first use."""

    backend: Backend
    definition: Definition

    @functools.cached_property
    def index(self) -> RowIndex:
        """The store's rows.

        Raises:
            DamagedError: The index is missing or damaged.
        """
        key = self.definition.index
        where = f"{self.backend.uri}: {key}, the index of its rows,"
        try:
            data = self.backend.read(key, 0, _MAX_INDEX_BYTES)
        except MissingError:
            raise DamagedError(f"{where} is missing") from None
        if hashlib.sha256(data).hexdigest() != self.definition.index_sha256:
            raise DamagedError(f"{where} is damaged: its SHA-256 differs")
        try:
            index = RowIndex.decode(data)
        except DamagedError as error:
            raise DamagedError(f"{where} is damaged: {error}") from None
        if (len(index), len(index.images)) != (self.definition.rows, self.definition.images):
            raise DamagedError(f"{where} does not match {DEFINITION}")
        if (names := len(self.definition.classes)) and (greatest := index.classes.max()) >= names:
            raise DamagedError(f"{where} has class {greatest}, but {DEFINITION} has only {names} class names")
        return index

    @functools.cached_property
    def shard_bounds(self) -> NDArray[np.int64]:
        """(shards + 1,) first row of each shard, then the number of rows."""
        return self.index.shard_bounds(self.definition.rows_per_shard)

    def check(self, manifest: Manifest) -> None:
        """Check a version's manifest against the store's definition.

        Raises:
            DamagedError: The manifest contradicts itself or the definition.
        """
        if fault := next(manifest_faults(manifest, self.definition, self.shard_bounds), None):
            key = manifest_key(manifest.run, manifest.version)
            raise DamagedError(f"{self.backend.uri}: {key} is damaged: {fault}")

    def __getstate__(self) -> dict[str, Any]:
        return {"backend": self.backend, "definition": self.definition}
