"""Errors of the map store. Every message says what to do."""

from __future__ import annotations

__all__ = [
    "ConditionsIgnoredError",
    "CoverageError",
    "DamagedError",
    "FencedError",
    "MapError",
    "MissingError",
    "StoreAwayError",
    "StoreError",
    "VersionError",
]

from collections.abc import Sequence

from attn.errors import AttnError, StorageAwayError

SHOWN = 5


class StoreError(AttnError):
    """A map store cannot be created, read or written."""

    code = "store"


class StoreAwayError(StorageAwayError, StoreError):
    """The object store with the map store does not answer; the same may succeed later."""

    code = StorageAwayError.code


class MapError(StoreError, ValueError):
    """A map or row that the store refuses: NaN, a wrong grid, a value out of range, or an unknown row."""

    code = "store.map"


class MissingError(StoreError):
    """An object does not exist."""

    code = "store.missing"


class VersionError(StoreError):
    """There is no such version."""

    code = "store.version"


class DamagedError(StoreError):
    """An object is missing, cut short, or changed since it was written."""

    code = "store.damaged"


class FencedError(StoreError):
    """A newer session of the same run has begun; this one must stop."""

    code = "store.fenced"


class ConditionsIgnoredError(StoreError):
    """The server ignores conditional writes; without them two writers would overwrite each other."""

    code = "store.conditions"


class CoverageError(StoreError):
    """An epoch's maps do not cover exactly the expected rows.

    Attributes:
        missing: Number of expected rows without a map.
        extra: Number of rows with a map that were not expected.
        rows: The missing (image id, class) pairs, if rows were expected and not just their number.
    """

    code = "store.coverage"

    def __init__(
        self, epoch: int, actual: int, expected: int, missing: int, extra: int, rows: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.missing, self.extra, self.rows = missing, extra, list(rows)
        super().__init__(epoch, actual, expected, missing, extra, self.rows)
        parts = []
        if missing:
            named = ", ".join(f"{image_id} class {index}" for image_id, index in self.rows[:SHOWN])
            more = f" and {len(self.rows) - SHOWN} more" if len(self.rows) > SHOWN else ""
            parts.append(f"{missing} missing" + (f": {named}{more}" if named else ""))
        if extra:
            parts.append(f"{extra} not expected")
        self.text = (
            f"epoch {epoch}: {actual} rows have maps, expected {expected} ({'; '.join(parts)}); add the missing maps "
            "and commit again with all deltas, or correct `expected`"
        )

    def __str__(self) -> str:
        return self.text
