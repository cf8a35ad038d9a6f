"""A cache of base objects on this machine's disk, before a store that lies elsewhere.

Objects never change, so a copy is right for ever. A whole object is fetched when a part of it is first asked for,
checked, and put under its name by rename; several processes share the folder, and one of them fetches. The copies that
were not used for longest are removed when there are too many bytes; who still reads one keeps its open file.
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
"""Environment variable that names the folder; without it there is no cache."""
CACHE_BYTES = "ATTN_STORE_CACHE_BYTES"
_DEFAULT_BYTES = 20 * 2**30
_LOCKS = 16
_FRESH_S = 60.0


def cache_for(backend: Backend, shards: Iterable[ShardRef]) -> ObjectCache | Backend:
    """Where to read base objects: a cache, if the environment names one and the store lies elsewhere."""
    folder = os.environ.get(CACHE)
    if not folder or backend.path("") is not None:
        return backend
    limit = os.environ.get(CACHE_BYTES) or str(_DEFAULT_BYTES)
    if not limit.isdecimal():
        raise StoreError(f"{CACHE_BYTES} is {limit!r}; it must be a whole number of bytes")
    return ObjectCache(backend, folder, int(limit), {ref.key: (ref.size, ref.sha256) for ref in shards})


@dataclass(frozen=True)
class ObjectCache:
    """Reads through copies.

    Attributes:
        limit: Bytes of all copies.
        expected: Size and SHA-256 of each object that may be asked for.
    """

    backend: Backend
    folder: str
    limit: int
    expected: dict[str, tuple[int, str]] = field(repr=False)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """As `Backend.read`. An object that is too big for the cache, or damaged, is read where it lies."""
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
        """Drop a copy that has turned out to be damaged."""
        with contextlib.suppress(OSError):
            Path(self.folder, f"{self.expected[key][1]}.arrow").unlink(missing_ok=True)

    def _keep(self, copy: Path, data: bytes) -> None:
        """Put a copy in its place. A cache that is full or read-only is no fault of the store."""
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
                f"{where} is no usable cache: {error.strerror}; name a folder that can be written"
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
