"""Verification: check every hash and count of a store, and report all faults."""

from __future__ import annotations

__all__ = ["Report", "verify"]

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from attn import progress
from attn.store.backends import Backend
from attn.store.errors import DamagedError, MissingError, StoreError, VersionError
from attn.store.format.algebra import ACCEPTED, FALLBACK
from attn.store.format.base_object import read_base, read_batches, read_table
from attn.store.format.definition import DEFINITION
from attn.store.format.delta import DeltaObject, check_span, read_span, sha256_of
from attn.store.format.manifest import (
    Manifest,
    ShardRef,
    claimed_run,
    list_runs,
    newest_claim,
    parse_claim_key,
    parse_manifest_key,
    read_manifest,
    strays,
)
from attn.store.protocol.fence import fences, read_head
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.history import newest_version
from attn.store.protocol.leases import leased_versions, versions_with_tombstones
from attn.store.protocol.tags import tags

SHOWN = 5


@dataclass
class Report:
    """The result of a verification.

    Attributes:
        versions: Number of manifests read.
        objects: Number of base and delta objects read.
        size: Bytes of these objects.
        faults: One message per fault, with the object's name.
    """

    versions: int = 0
    objects: int = 0
    size: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether there are no faults."""
        return not self.faults


def verify(handle: StoreHandle) -> Report:
    """Read every object of a store, and check it against the manifests."""
    report = Report()
    faults = report.faults
    try:
        index = handle.index
    except StoreError as error:
        faults.append(str(error))
        return report
    if index.digest != handle.definition.rows_digest:
        faults.append(f"{handle.backend.uri}: the index of its rows does not match {DEFINITION}")
    try:
        _verify(handle, report)
    except StoreError as error:  # the objects cannot even be listed
        faults.append(str(error))
    faults[:] = dict.fromkeys(faults)
    return report


def _verify(handle: StoreHandle, report: Report) -> None:
    faults = report.faults
    for entry in strays(handle.backend):
        faults.append(
            f"{handle.backend.uri}: {entry.key} is not a valid name of a record: the store cannot find a record that "
            "was renamed. Rename it back, or move it out of the store"
        )
    manifests = dict(_manifests(handle, faults))
    report.versions = len(manifests)
    faults += _check_history(handle, manifests)
    named: dict[ShardRef | DeltaObject, list[int]] = {}
    for version, manifest in sorted(manifests.items()):
        objects: list[ShardRef | DeltaObject] = [*manifest.shards]
        objects += [item for ref in manifest.pending for item in ref.objects]
        for item in objects:
            named.setdefault(item, []).append(version)
    for ref, versions in progress.steps_of(named.items(), "checking objects", len(named), "objects"):
        faults += _check_object(handle, ref, versions)
    report.objects = len(named)
    report.size = sum(ref.size for ref in named)


def _check_object(handle: StoreHandle, ref: ShardRef | DeltaObject, versions: list[int]) -> list[str]:
    """Faults of an object."""
    shown = ", ".join(map(str, versions[:SHOWN])) + (f" and {len(versions) - SHOWN} more" * (len(versions) > SHOWN))
    where = f"{handle.backend.uri}: {ref.key}, of version{'s' * (len(versions) > 1)} {shown}"
    try:
        wrong = list(_check_base(handle, ref) if isinstance(ref, ShardRef) else _check_delta(handle, ref))
    except MissingError:
        return [f"{where}, is missing"]
    except DamagedError as error:
        return [f"{where}, is damaged: {error}"]
    except StoreError as error:
        return [f"{where}: {error}"]
    return [f"{where}: {fault}" for fault in wrong]


def _check_base(handle: StoreHandle, ref: ShardRef) -> Iterator[str]:
    schema, count = (
        handle.definition.base_schema,
        int(handle.shard_bounds[ref.shard + 1] - handle.shard_bounds[ref.shard]),
    )
    rows = read_base(handle.backend, ref, count, schema)
    handle.definition.algebra.maps(rows)
    levels = np.bincount(rows["level"], minlength=3)
    if (int(levels[ACCEPTED]), int(levels[FALLBACK])) != (ref.accepted, ref.fallback):
        yield (
            f"it has {levels[ACCEPTED]} accepted and {levels[FALLBACK]} fallback maps; its manifest says "
            f"{ref.accepted} and {ref.fallback}"
        )
    # Snapshots read by the table, so check it too.
    table = read_table(handle.backend, ref, count, schema)
    read_batches(handle.backend, ref, table, 0, len(table.checksums), count, schema)


def _check_delta(handle: StoreHandle, ref: DeltaObject) -> Iterator[str]:
    data = memoryview(handle.backend.read(ref.key, 0, ref.size + 1))
    if len(data) != ref.size or sha256_of(data, ref.spans) != ref.sha256:
        raise DamagedError(f"it has {len(data)} bytes of {ref.size}, or its SHA-256 differs")
    accepted = 0
    for span in ref.spans:
        part = data[span.offset : span.offset + span.size]
        check_span(part, span)
        start, stop = (int(cut) for cut in handle.shard_bounds[span.shard : span.shard + 2])
        for rows in read_span(part, span, handle.definition.delta_schema, start, stop):
            accepted += int(np.count_nonzero(rows["level"] == ACCEPTED))
    if accepted != ref.accepted:
        yield f"it has {accepted} accepted maps; its manifest says {ref.accepted}"


def _manifests(handle: StoreHandle, faults: list[str]) -> Iterator[tuple[int, Manifest]]:
    backend = handle.backend
    for entry in backend.list("manifest/"):
        if (named := parse_manifest_key(entry.key)) is None:
            continue
        run, version = named
        try:
            manifest = read_manifest(backend, version, run)
            if claimed_run(backend, version) != run:
                faults.append(f"{backend.uri}: {entry.key}: its number was claimed by another run")
                continue
            handle.check(manifest)
            yield version, manifest
        except VersionError:
            if backend.size(entry.key) is not None:  # else it was removed since it was listed
                faults.append(f"{backend.uri}: {entry.key}: no claim exists for its number")
        except StoreError as error:
            faults.append(str(error))


def _check_history(handle: StoreHandle, manifests: dict[int, Manifest]) -> Iterator[str]:
    """Faults of parents, claims, fences, heads, tags, leases and tombstones."""
    backend = handle.backend
    claims = newest_claim(backend)
    yield from _check_claims(backend, manifests)
    for version, manifest in sorted(manifests.items()):
        parent = manifests.get(manifest.parent)
        if parent is not None and parent.sha256 != manifest.parent_sha256:
            yield f"{backend.uri}: version {version} continues another version {manifest.parent}"

    def check_reference(what: str, version: int, sha256: str, run: str = "") -> Iterator[str]:
        result = manifests.get(version)
        if version and (result is None or result.sha256 != sha256 or (run and result.run != run)):
            yield f"{backend.uri}: {what} names version {version}, which is missing or differs"

    for run in list_runs(backend):
        attempts: dict[int, str] = {}
        for fence in fences(backend, run):
            if isinstance(fence, DamagedError):
                yield str(fence)
                continue
            attempts[fence.number] = fence.attempt
            if fence.floor > claims:
                number, floor = fence.number, fence.floor
                yield f"{backend.uri}: session {number} of run {run} begins above version {floor}; the last is {claims}"
        for version, manifest in manifests.items():
            if manifest.run == run and attempts.get(manifest.fence) != manifest.attempt:
                yield (
                    f"{backend.uri}: version {version} belongs to session {manifest.fence} ({manifest.attempt}) of run "
                    f"{run}, but that session's fence is missing or differs"
                )
        try:
            newest_version(backend, run)
            head = read_head(backend, run)
            if head is not None:
                yield from check_reference(f"the head of run {run}", head[0].version, head[0].manifest_sha256)
        except StoreError as error:
            yield str(error)
    for tag in tags(backend):
        if isinstance(tag, DamagedError):
            yield str(tag)
        else:
            yield from check_reference(f"tag {tag.name}", tag.version, tag.manifest_sha256, tag.run)
    try:
        leased_versions(backend)
        versions_with_tombstones(backend)
    except DamagedError as error:
        yield str(error)


def _check_claims(backend: Backend, manifests: dict[int, Manifest]) -> Iterator[str]:
    """Faults of claims without a manifest; the other claims were checked with their manifests."""
    for entry in backend.list("version/"):
        try:
            if (version := parse_claim_key(entry.key)) is not None and version not in manifests:
                claimed_run(backend, version)
        except StoreError as error:
            yield str(error)
