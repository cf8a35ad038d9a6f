"""What a place must do to hold a map store."""

from __future__ import annotations

__all__ = ["Backend", "Entry"]

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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


class Backend(Protocol):
    """Named objects that are written whole or not at all, and two conditional writes.

    Backends are small picklable values: a task or a worker elsewhere gets a copy and reaches the same objects. All
    methods raise `StoreError` in words where the place cannot be reached, is full or refuses; what may pass is tried
    again first, a finite number of times.
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
        """An object's content and the tag of that content, or None where there is none."""
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
