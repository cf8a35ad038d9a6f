"""Wanting a version and collecting it may meet: pins and notices, so that one side always sees the other.

Who is about to build on a version (a session, a fork, a tag) pins it first and then looks for notices. The collector
puts up a notice of the versions that are to go, and then looks once more who wants what. However long either stands
still in between, the pin is seen or the notice is. What is older than a day was left by a process that died.
"""

from __future__ import annotations

__all__ = ["DAY_S", "LEFT", "write_tombstone", "versions_with_tombstones", "hold_version", "leased_versions"]

import contextlib
import dataclasses
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attn.store.backends import Backend, Entry
from attn.store.errors import MissingError, VersionError
from attn.store.format.manifest import Manifest, manifest_key
from attn.store.format.records import STRICT, Number, pack, read_record

DAY_S = 24 * 3600.0
_PINS, _NOTICES = "pins/", "notices/"
LEFT = (_PINS, _NOTICES)
"""Folders in which a process that dies leaves something."""


@dataclass(frozen=True)
class _Note:
    """A pin or a notice."""

    __pydantic_config__ = STRICT

    versions: tuple[Number, ...]


@contextlib.contextmanager
def hold_version(backend: Backend, manifest: Manifest) -> Iterator[None]:
    """Within, a version is not collected.

    Raises:
        VersionError: It is gone or about to go.
    """
    if manifest.version == 0:
        yield
        return
    key = _note(backend, _PINS, [manifest.version])
    try:
        if manifest.version in versions_with_tombstones(backend):
            raise _gone(backend, manifest, "is being collected")
        if backend.size(manifest_key(manifest.run, manifest.version)) is None:
            raise _gone(backend, manifest, "was collected meanwhile")
        yield
    finally:
        backend.delete(key)


def write_tombstone(backend: Backend, versions: Iterable[int]) -> str:
    """Put up a notice that versions are to go; returns its key, to be deleted once they are gone."""
    return _note(backend, _NOTICES, versions)


def leased_versions(backend: Backend) -> set[int]:
    """Versions with a pin. To be asked before fences and tags, for which pins are taken away."""
    return _noted(backend, _PINS)


def versions_with_tombstones(backend: Backend) -> set[int]:
    """Versions that are about to go."""
    return _noted(backend, _NOTICES)


def _note(backend: Backend, folder: str, versions: Iterable[int]) -> str:
    key = f"{folder}{secrets.token_hex(16)}.json"
    backend.write(key, pack(dataclasses.asdict(_Note(tuple(sorted(versions))))))
    return key


def _noted(backend: Backend, folder: str) -> set[int]:
    entries = backend.list(folder)
    now = backend.now() if entries else 0.0
    found: set[int] = set()
    for entry in entries:
        with contextlib.suppress(MissingError):
            if not _is_left(entry, now):
                found |= set(read_record(backend, entry.key, _Note).versions)
    return found


def _is_left(entry: Entry, now: float) -> bool:
    return now - entry.modified > DAY_S


def _gone(backend: Backend, manifest: Manifest, what: str) -> VersionError:
    return VersionError(
        f"{backend.uri}: version {manifest.version} of run {manifest.run} {what}: nothing has wanted it for a day; "
        "take a newer version, and give those that must stay a tag"
    )
