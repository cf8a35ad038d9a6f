"""What a place must do to hold a map store."""

from __future__ import annotations

__all__ = ["MOST_LOADED", "Backend", "Entry", "check_key", "too_big"]

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attn.store.errors import DamagedError

_PART = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")
_LONGEST = 1024
MOST_LOADED = 64 << 20


@dataclass(frozen=True)
class Entry:
    """One object of a listing.

    Attributes:
        key: Name below the store's root, parts joined by `/`.
        size: Bytes.
        modified: Seconds since 1970 by the clock that `Backend.now` tells.
    """

    key: str
    size: int
    modified: float


def check_key(uri: str, key: str) -> str:
    """Raise unless a key names an object below the store's root: keys come out of records, which may say anything.

    Args:
        uri: Of the store, for the message.

    Raises:
        DamagedError: It is absolute, leads out, or can be no name.
    """
    parts = key.split("/")
    if len(key) > _LONGEST or any(part in (".", "..") or not _PART.fullmatch(part) for part in parts):
        shown = key if len(key) <= 80 else key[:80] + "…"
        raise DamagedError(f"{uri}: {shown!r} is no name of an object: names are relative and stay inside the store")
    return key


def too_big(uri: str, key: str) -> DamagedError:
    """That an object is more than can be loaded at once."""
    return DamagedError(f"{uri}: {key} is damaged: it has over {MOST_LOADED >> 20} MiB, which no record has")


class Backend(Protocol):
    """Named objects that are written whole or not at all, and two conditional writes.

    Backends are small picklable values: a task or a worker elsewhere gets a copy and reaches the same objects. All
    methods raise `StoreError` in words where the place cannot be reached, is full or refuses; what may pass is tried
    again first, a finite number of times. A key that `check_key` refuses reaches nothing.
    """

    @property
    def uri(self) -> str:
        """The place, without credentials."""
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of an object, fewer where it ends before.

        Raises:
            MissingError: There is no such object.
        """
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None where there is none."""
        ...

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write an object under a name that nobody else uses; durable when it returns."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; of several at once exactly one gets True. Durable when it returns.

        Args:
            data: Content that no other writer writes (it holds a nonce). An object of this very content counts as
                written by this call: so the answer is right even where the server's own was lost.
        """
        ...

    def load(self, key: str) -> tuple[bytes, str] | None:
        """A small object's content and the tag of that content, or None where there is none.

        Raises:
            DamagedError: It has more than `MOST_LOADED` bytes.
        """
        ...

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        """Replace an object that still has the tag which `load` gave; False where it has changed or is gone.

        Args:
            data: As for `create`, content that no other writer writes.
        """
        ...

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        """Objects below a folder, by name.

        Args:
            prefix: A folder, ending with `/`, or empty for all.
            after: Only objects whose key is greater.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; it is no fault if there is none."""
        ...

    def leftovers(self) -> list[Entry]:
        """What writers that died have left under names that `list` does not show."""
        ...

    def now(self) -> float:
        """The time by the clock that dates objects, in seconds since 1970."""
        ...

    def path(self, key: str) -> Path | None:
        """The object as a file of this machine, where it is one."""
        ...
