"""The interface of a storage backend."""

from __future__ import annotations

__all__ = ["MAX_RECORD_BYTES", "Backend", "Entry", "check_key", "too_large"]

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attn.store.errors import DamagedError

_PART = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")
_MAX_KEY_LENGTH = 1024
MAX_RECORD_BYTES = 64 << 20
"""A manifest of 10,000 shards has 4 MB."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing.

    Attributes:
        key: Name relative to the store's root, parts joined by `/`.
        size: Number of bytes.
        modified: Seconds since 1970 on the clock of `Backend.now`.
    """

    key: str
    size: int
    modified: float


def check_key(uri: str, key: str) -> str:
    """Check that a key names an object inside the store, and return it. Keys come from records, so they are untrusted.

    Args:
        uri: URI of the store, for the message.

    Raises:
        DamagedError: The key is absolute, leads outside of the store, or is not a valid name.
    """
    parts = key.split("/")
    if len(key) > _MAX_KEY_LENGTH or any(part in (".", "..") or not _PART.fullmatch(part) for part in parts):
        shown = key if len(key) <= 80 else key[:80] + "…"
        raise DamagedError(f"{uri}: {shown!r} is not a valid object name: names are relative and stay inside the store")
    return key


def too_large(uri: str, key: str) -> DamagedError:
    """The error for an object that is too large for `Backend.load`."""
    return DamagedError(f"{uri}: {key} is damaged: it has over {MAX_RECORD_BYTES >> 20} MiB, too many for a record")


class Backend(Protocol):
    """Named objects that are written atomically, and two conditional writes.

    A backend is a small picklable value: a copy in another process accesses the same objects. All methods raise
    `StoreError` if the storage is full or refuses access, and `StoreAwayError` if it does not answer for longer than
    the process waits. Every method checks its key with `check_key` first.
    """

    @property
    def uri(self) -> str:
        """The store's location, without credentials."""
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of an object; fewer if it ends before `stop`.

        Raises:
            MissingError: There is no such object.
        """
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if it does not exist."""
        ...

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write an object under a unique name. Durable when it returns."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists. Durable when it returns; of several concurrent calls one returns True.

        Args:
            data: Content with a nonce, so that no other writer writes it. If the object exists with exactly this
                content, the result is True: this makes it correct to retry after the server's response was lost.
        """
        ...

    def load(self, key: str) -> tuple[bytes, str] | None:
        """A small object's content and its tag; None if it does not exist.

        Raises:
            DamagedError: It has more than `MAX_RECORD_BYTES` bytes.
        """
        ...

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """Replace an object that still has the tag from `load`; False if it changed or was deleted.

        Args:
            data: Content with a nonce, as for `create`.
        """
        ...

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        """Objects below a folder, sorted by key.

        Args:
            prefix: A folder ending with `/`; empty: all objects.
            after: List only greater keys.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""
        ...

    def leftovers(self) -> list[Entry]:
        """Temporary files of writers that died; `list` does not return them."""
        ...

    def now(self) -> float:
        """Seconds since 1970 on the clock that sets `Entry.modified`."""
        ...

    def path(self, key: str) -> Path | None:
        """The object's local file; None if the store is not local."""
        ...
