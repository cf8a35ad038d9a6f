"""Where a store lies and what it is: what all its parts need to know, small when pickled."""

from __future__ import annotations

__all__ = ["Place"]

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.store.backends import Backend
from attn.store.definition import Definition
from attn.store.errors import DamagedError, MissingError
from attn.store.index import RowIndex


@dataclass(frozen=True)
class Place:
    """A store's backend and definition; the index is read when it is first needed."""

    backend: Backend
    definition: Definition

    @functools.cached_property
    def index(self) -> RowIndex:
        """The store's rows.

        Raises:
            DamagedError: The index is missing or damaged.
        """
        key = self.definition.index
        try:
            data = self.backend.read(key)
        except MissingError:
            raise DamagedError(f"{self.backend.uri}: {key}, the index of its rows, is missing") from None
        if hashlib.sha256(data).hexdigest() != self.definition.index_sha256:
            raise DamagedError(f"{self.backend.uri}: {key}, the index of its rows, is damaged: its SHA-256 differs")
        return RowIndex.decode(data)

    @functools.cached_property
    def cuts(self) -> NDArray[np.int64]:
        """First rows of the shards, and the number of rows."""
        return self.index.cuts(self.definition.rows_per_shard)

    def __getstate__(self) -> dict[str, Any]:
        return {"backend": self.backend, "definition": self.definition}
