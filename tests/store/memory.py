"""A backend in memory, for tests of what lies above backends: quick, and every object can be looked at and changed."""

from __future__ import annotations

import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path

from attn.store.backends import Entry, check_key
from attn.store.errors import MissingError

PLACES: dict[int, MemoryBackend] = {}
NUMBERS = itertools.count()


def same(number: int) -> MemoryBackend:
    """A copy reaches the same objects, as everywhere."""
    return PLACES[number]


@dataclass
class MemoryBackend:
    """Objects are bytes in a dictionary.

    Attributes:
        dates: By key; may be changed.
        reads: (key, start, stop) of every read.
        clock: Seconds; goes on by one with every write.
    """

    number: int = field(default_factory=lambda: next(NUMBERS))
    objects: dict[str, bytes] = field(default_factory=dict)
    dates: dict[str, float] = field(default_factory=dict)
    reads: list[tuple[str, int, int | None]] = field(default_factory=list)
    clock: float = 1e9
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        PLACES[self.number] = self

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return same, (self.number,)

    @property
    def uri(self) -> str:
        return f"memory-{self.number}"

    def path(self, key: str) -> Path | None:
        return None

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self.reads.append((check_key(self.uri, key), start, stop))
        try:
            return self.objects[key][start:stop]
        except KeyError:
            raise MissingError(f"{self.uri}/{key}: no such object") from None

    def size(self, key: str) -> int | None:
        return len(self.objects[key]) if check_key(self.uri, key) in self.objects else None

    def write(self, key: str, data: bytes | memoryview) -> None:
        self.clock += 1
        self.objects[check_key(self.uri, key)], self.dates[key] = bytes(data), self.clock

    def create(self, key: str, data: bytes) -> bool:
        with self.lock:
            if key in self.objects:
                return self.objects[key] == data
            self.write(key, data)
            return True

    def load(self, key: str) -> tuple[bytes, str] | None:
        data = self.objects.get(check_key(self.uri, key))
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        with self.lock:
            result = self.load(key)
            if result is None or result[1] != tag:
                return False
            self.write(key, data)
            return True

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        keys = sorted(key for key in list(self.objects) if key.startswith(prefix) and key > after)
        return [Entry(key, len(self.objects[key]), self.dates[key]) for key in keys]

    def delete(self, key: str) -> None:
        self.objects.pop(check_key(self.uri, key), None)

    def leftovers(self) -> list[Entry]:
        return []

    def now(self) -> float:
        return self.clock
