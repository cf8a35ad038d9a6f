"""A local disk cache of base objects for a store in an object store.

Objects never change, so a copy never becomes stale. The first read of any part of an object fetches all of it, checks
it, and renames it into place. Several processes can share the folder; only one of them fetches an object. When the
cache exceeds its limit, the least recently used copies are removed; a process that still reads one keeps its open file.
"""

from __future__ import annotations

__all__ = ["CACHE", "CACHE_BYTES", "ObjectCache", "cache_for"]

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from attn.store.backends import Backend
from attn.store.errors import StoreError
from attn.store.format.manifest import ShardRef

CACHE = "ATTN_STORE_CACHE"
"""Environment variable with the cache's folder; unset means no cache."""
CACHE_BYTES = "ATTN_STORE_CACHE_BYTES"
_DEFAULT_BYTES = 20 * 2**30
_LOCKS = 16
_FRESH_S = 60.0


def cache_for(backend: Backend, shards: Iterable[ShardRef]) -> ObjectCache | Backend:
    """A cache in front of the backend, if the environment names one and the store is not local; else the backend."""
    folder = os.environ.get(CACHE)
    if not folder or backend.path("") is not None:
        return backend
    limit = os.environ.get(CACHE_BYTES) or str(_DEFAULT_BYTES)
    if not limit.isdecimal():
        raise StoreError(f"{CACHE_BYTES} is {limit!r}; it must be a whole number of bytes")
    return ObjectCache(backend, folder, int(limit), {ref.key: (ref.size, ref.sha256) for ref in shards})


@dataclass(frozen=True)
class ObjectCache:
    """Reads objects through local copies.

    Attributes:
        limit: Maximum bytes of all copies together.
        expected: Size and SHA-256 of each object that may be read, by key.
    """

    backend: Backend
    folder: str
    limit: int
    expected: dict[str, tuple[int, str]] = field(repr=False)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Like `Backend.read`. An object that is damaged or larger than the cache is read from the backend."""
        size, sha256 = self.expected[key]
        if size > self.limit:
            return self.backend.read(key, start, stop)
        copy = Path(self.folder, f"{sha256}.arrow")
        data = _read_copy(copy, size, start, stop)
        if data is None:
            with self._lock(sha256):
                data = _read_copy(copy, size, start, stop)
                if data is None:
                    whole = self.backend.read(key, 0, size + 1)
                    if len(whole) == size and hashlib.sha256(whole).hexdigest() == sha256:
                        self._keep(copy, whole)
                    data = whole[start:stop]
        return data

    def forget(self, key: str) -> None:
        """Remove a copy that turned out to be damaged."""
        with contextlib.suppress(OSError):
            Path(self.folder, f"{self.expected[key][1]}.arrow").unlink(missing_ok=True)

    def _keep(self, copy: Path, data: bytes) -> None:
        """Store a copy. A cache that is full or read-only is ignored: the store still works without it."""
        part = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}.part")
        with contextlib.suppress(OSError):
            try:
                self._make_room(len(data))
                part.write_bytes(data)
                part.replace(copy)
            finally:
                part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        copies: list[tuple[float, int, str]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.endswith(".arrow"):
                        status = entry.stat()
                        copies.append((status.st_mtime, status.st_size, entry.path))
        total = size + sum(item[1] for item in copies)
        for _, bytes_, path in sorted(copies):
            if total <= self.limit:
                return
            Path(path).unlink(missing_ok=True)
            total -= bytes_

    @contextlib.contextmanager
    def _lock(self, sha256: str) -> Iterator[None]:
        try:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            path = Path(self.folder, f".lock-{int(sha256[:8], 16) % _LOCKS}")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            where = f"{self.folder}, which {CACHE} names,"
            raise StoreError(
                f"{where} cannot be used as a cache: {error.strerror}; name a folder that can be written"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read_copy(copy: Path, size: int, start: int, stop: int | None) -> bytes | None:
    try:
        with copy.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_size != size:
                return None
            if time.time() - status.st_mtime > _FRESH_S:
                os.utime(stream.fileno())
            stream.seek(start)
            return stream.read(-1 if stop is None else max(0, stop - start))
    except OSError:
        return None
