"""What can go wrong with a map store, each in words that say what to do."""

from __future__ import annotations

__all__ = [
    "ConditionsIgnoredError",
    "CoverageError",
    "DamagedError",
    "FencedError",
    "MapError",
    "MissingError",
    "StoreError",
    "VersionError",
]

from collections.abc import Sequence

from attn.errors import AttnError

SHOWN = 5


class StoreError(AttnError):
    """A map store cannot be made, read or written."""

    code = "store"


class MapError(StoreError, ValueError):
    """A map or a row that the store does not take: NaN, another grid, out of range, a row that it does not have."""

    code = "store.map"


class MissingError(StoreError):
    """An object is not there."""

    code = "store.missing"


class VersionError(StoreError):
    """There is no such version."""

    code = "store.version"


class DamagedError(StoreError):
    """An object is not what its version says: bits have changed, bytes are missing, or all of it is."""

    code = "store.damaged"


class FencedError(StoreError):
    """Another session has begun the same run since; this one must end."""

    code = "store.fenced"


class ConditionsIgnoredError(StoreError):
    """The server does not honour conditional writes, without which two writers would overwrite each other."""

    code = "store.conditions"


class CoverageError(StoreError):
    """An epoch's maps are not those that were promised.

    Attributes:
        missing: How many promised rows have no map.
        extra: How many rows have a map that nobody promised.
        rows: The missing (image id, class) pairs, where rows were promised and not their number.
    """

    code = "store.coverage"

    def __init__(
        self, epoch: int, found: int, expected: int, missing: int, extra: int, rows: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.missing, self.extra, self.rows = missing, extra, list(rows)
        super().__init__(epoch, found, expected, missing, extra, self.rows)
        parts = []
        if missing:
            named = ", ".join(f"{image_id} class {index}" for image_id, index in self.rows[:SHOWN])
            more = f" and {len(self.rows) - SHOWN} more" if len(self.rows) > SHOWN else ""
            parts.append(f"{missing} missing" + (f": {named}{more}" if named else ""))
        if extra:
            parts.append(f"{extra} that were not promised")
        self.text = (
            f"epoch {epoch}: {found} rows have maps where {expected} were promised ({'; '.join(parts)}); add what is "
            "missing and commit again with all deltas, or correct `expected`"
        )

    def __str__(self) -> str:
        return self.text
