"""A run's history of versions, and forks: runs that start from another run's version."""

from __future__ import annotations

__all__ = ["NoHeadError", "fork", "history", "newest_version", "readable_version"]

import dataclasses
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType

from attn.store.backends import Backend
from attn.store.errors import DamagedError, StoreError
from attn.store.format.manifest import (
    Manifest,
    claim,
    list_runs,
    manifest_key,
    newest_claim,
    read_manifest,
    try_read_manifest,
    version_numbers,
)
from attn.store.protocol import failpoints
from attn.store.protocol.fence import create_fence, head_key, newest_fence, read_head, write_head
from attn.store.protocol.leases import hold_version


class NoHeadError(DamagedError):
    """Which version of a run is published is not known: its head is missing or older than its newest session.

    Attributes:
        max_readable: No readable version of the run has a greater number.
    """

    def __init__(self, message: str, max_readable: int) -> None:
        super().__init__(message)
        self.max_readable = max_readable

    def __reduce__(self) -> tuple[type[NoHeadError], tuple[str, int]]:  # exceptions are pickled with one argument
        return NoHeadError, (str(self), self.max_readable)


def newest_version(backend: Backend, run: str, known: Mapping[int, Manifest] = MappingProxyType({})) -> Manifest:
    """The newest version of a run's newest session; before its first commit, the version that it continues.

    A version of an older session is skipped, even if its number is greater: a process that was believed dead may have
    committed it.

    Args:
        known: Manifests that were read before, by version.

    Raises:
        DamagedError: The newest fence, the newest session's head or the head's version is missing, so that an older
            version would be taken for the newest.
    """
    return _newest(backend, run, known, tentative=True)


def readable_version(backend: Backend, run: str) -> Manifest:
    """As `newest_version`, but without tentative versions beyond the run's head: a restart may abandon them.

    Raises:
        NoHeadError: The newest session's head is missing or older than the session.
        DamagedError: As `newest_version`.
    """
    return _newest(backend, run, {}, tentative=False)


def _newest(backend: Backend, run: str, known: Mapping[int, Manifest], *, tentative: bool) -> Manifest:
    result = read_head(backend, run)  # before the fence: a fence is written before the head that carries it
    head, fence = result[0] if result else None, newest_fence(backend, run)
    number, floor = (fence.number, fence.floor) if fence else (0, 0)
    versions = version_numbers(backend, run, after=floor)
    if (head is not None and head.fence > number) or (fence is None and versions):
        raise DamagedError(
            f"{backend.uri}: run {run}'s newest session is newer than {number}, but its fence is missing"
        )
    published = head.version if head is not None and head.fence == number else 0
    newest = None
    for version in reversed(versions):
        manifest = known.get(version) or try_read_manifest(backend, version, run)
        if manifest is None or manifest.fence != number:
            continue
        if head is None or head.fence < number:  # `begin` and `fork` write the head before any version
            _check_head(backend, manifest, versions[-1])
            return _newest(
                backend, run, known, tentative=tentative
            )  # a session began after the head was read: read again
        if tentative or version <= published or not manifest.tentative:
            newest = manifest
            break
    if newest is None:
        start = fence.from_version if fence else 0
        newest = known.get(start) or (read_manifest(backend, start) if start else Manifest.empty(run))
    if head is not None and head.version == newest.version and head.manifest_sha256 != newest.sha256:
        raise DamagedError(
            f"{backend.uri}: version {head.version} differs from the one that the head of run {run} names"
        )
    if head is not None and head.fence == number and head.version > newest.version:
        raise DamagedError(f"{backend.uri}: version {head.version}, which the head of run {run} names, is missing")
    return newest


def _check_head(backend: Backend, manifest: Manifest, newest: int) -> None:
    """Check that the head of a version's run is of the version's session or of a newer one.

    Args:
        newest: Number of the run's newest version.

    Raises:
        NoHeadError: It is not.
    """
    result = read_head(backend, manifest.run)
    if result is None or result[0].fence < manifest.fence:
        wrong = "is missing" if result is None else f"is of session {result[0].fence}"
        raise NoHeadError(
            f"{backend.uri}: version {manifest.version} is of session {manifest.fence} of run {manifest.run}, but "
            f"{head_key(manifest.run)} {wrong}: which version is published is not known. Restore that file, or read a "
            f"version by its number, as in {backend.uri}@{manifest.version}; a session that begins from a version, as "
            "`attn resume` does, writes the file again",
            newest,
        )


def history(backend: Backend) -> list[tuple[Manifest, bool]]:
    """All versions by number, each with True if its run's newest version descends from it."""
    runs = list_runs(backend)
    read = {number: try_read_manifest(backend, number, run) for run in runs for number in version_numbers(backend, run)}
    results = {number: manifest for number, manifest in read.items() if manifest is not None}
    live: set[int] = set()
    for run in runs:
        version = newest_version(backend, run, results).version
        while version in results and version not in live:
            live.add(version)
            version = results[version].parent
    return [(results[version], version in live) for version in sorted(results)]


def fork(backend: Backend, version: int, run: str) -> Manifest:
    """Write a new run's first version: a manifest that names the objects of another version.

    Raises:
        VersionError: There is no such version.
        StoreError: The run has begun already.
    """
    parent = read_manifest(backend, version)
    with hold_version(backend, parent):
        failpoints.hit("fork.leased")
        fence = create_fence(backend, run, 1, version, newest_claim(backend))
        if fence is None:
            raise StoreError(f"{backend.uri}: run {run} has begun already; a fork needs a new name")
        write_head(backend, run, version, parent.sha256, fence.number)
        number = claim(backend, run, fence.floor)
        manifest = dataclasses.replace(
            parent,
            version=number,
            run=run,
            parent=version,
            parent_sha256=parent.sha256,
            attempt=fence.attempt,
            fence=fence.number,
            nonce=secrets.token_hex(16),
            created=time.time(),
            consumed=(),
            merged={},
            metadata=Manifest.with_mark(parent.metadata, tentative=False),
        )
        backend.create(manifest_key(run, number), manifest.pack())
    write_head(backend, run, number, manifest.sha256, fence.number)
    return manifest
