"""Leases and tombstones: they keep the garbage collector from removing a version that another process starts to use.

A process that is about to use a version (a session, a fork, a tag) first writes a lease on it, then checks for
tombstones. The collector first writes a tombstone with the versions to remove, then checks for leases again. Whatever
the timing, at least one side sees the other. Leases and tombstones older than a day belong to dead processes and are
ignored. In the store their folders are `pins/` and `notices/`.
"""

from __future__ import annotations

__all__ = ["DAY_S", "FOLDERS", "write_tombstone", "versions_with_tombstones", "hold_version", "leased_versions"]

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
_LEASES, _TOMBSTONES = "pins/", "notices/"
FOLDERS = (_LEASES, _TOMBSTONES)
"""Folders of leases and tombstones, where a process that dies leaves files."""


@dataclass(frozen=True)
class _Note:
    """A lease or a tombstone."""

    __pydantic_config__ = STRICT

    versions: tuple[Number, ...]


@contextlib.contextmanager
def hold_version(backend: Backend, manifest: Manifest) -> Iterator[None]:
    """Keep a version from being collected inside the `with` block.

    Raises:
        VersionError: The version was collected, or is being collected.
    """
    if manifest.version == 0:
        yield
        return
    key = _write_note(backend, _LEASES, [manifest.version])
    try:
        if manifest.version in versions_with_tombstones(backend):
            raise _is_gone_error(backend, manifest, "is being collected")
        if backend.size(manifest_key(manifest.run, manifest.version)) is None:
            raise _is_gone_error(backend, manifest, "was collected meanwhile")
        yield
    finally:
        backend.delete(key)


def write_tombstone(backend: Backend, versions: Iterable[int]) -> str:
    """Write that versions are about to be removed; returns the tombstone's key, to be deleted after their removal."""
    return _write_note(backend, _TOMBSTONES, versions)


def leased_versions(backend: Backend) -> set[int]:
    """Versions with a lease. Read them before fences and tags: a lease ends when its fence or tag is written."""
    return _read_notes(backend, _LEASES)


def versions_with_tombstones(backend: Backend) -> set[int]:
    """Versions that are about to be removed."""
    return _read_notes(backend, _TOMBSTONES)


def _write_note(backend: Backend, folder: str, versions: Iterable[int]) -> str:
    key = f"{folder}{secrets.token_hex(16)}.json"
    backend.write(key, pack(dataclasses.asdict(_Note(tuple(sorted(versions))))))
    return key


def _read_notes(backend: Backend, folder: str) -> set[int]:
    entries = backend.list(folder)
    now = backend.now() if entries else 0.0
    results: set[int] = set()
    for entry in entries:
        with contextlib.suppress(MissingError):
            if not _is_expired(entry, now):
                results |= set(read_record(backend, entry.key, _Note).versions)
    return results


def _is_expired(entry: Entry, now: float) -> bool:
    return now - entry.modified > DAY_S


def _is_gone_error(backend: Backend, manifest: Manifest, what: str) -> VersionError:
    return VersionError(
        f"{backend.uri}: version {manifest.version} of run {manifest.run} {what}: nothing has used it for a day; use a "
        "newer version, and tag versions that must stay"
    )
