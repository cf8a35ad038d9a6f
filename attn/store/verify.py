"""Verification: every hash and every count of a store, all faults at once."""

from __future__ import annotations

__all__ = ["Report", "verify"]

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from attn.store.algebra import ACCEPTED, FALLBACK
from attn.store.base_object import read_base, read_blocks, read_table
from attn.store.codec import decode
from attn.store.delta import DeltaObject, check_span, sha256_of
from attn.store.errors import DamagedError, MissingError, StoreError
from attn.store.fence import newest_fence, read_head
from attn.store.manifest import Manifest, ShardRef, claimed_run, runs_of
from attn.store.place import Place
from attn.store.records import unpack
from attn.store.tags import Tag

SHOWN = 5


@dataclass
class Report:
    """What verification found.

    Attributes:
        versions: Manifests that were read.
        objects: Base and delta objects that were read.
        size: Their bytes.
        faults: In words, each with the object's name.
    """

    versions: int = 0
    objects: int = 0
    size: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(place: Place) -> Report:
    """Read all of a store, and check it against its manifests."""
    report = Report()
    faults = report.faults
    try:
        index = place.index
    except DamagedError as error:
        faults.append(str(error))
        return report
    found = (len(index), len(index.images), index.digest)
    if found != (place.definition.rows, place.definition.images, place.definition.rows_digest):
        faults.append(f"{place.backend.uri}: the index of its rows is not the one that store.json describes")

    manifests = dict(_manifests(place, faults))
    report.versions = len(manifests)
    faults += _check_history(place, manifests)
    named: dict[ShardRef | DeltaObject, list[int]] = {}
    for version, manifest in sorted(manifests.items()):
        objects: list[ShardRef | DeltaObject] = [*manifest.shards]
        objects += [item for ref in manifest.pending for item in ref.objects]
        for item in objects:
            named.setdefault(item, []).append(version)
    for ref, versions in named.items():
        faults += _check_object(place, ref, versions)
    report.objects = len(named)
    report.size = sum(ref.size for ref in named)
    return report


def _check_object(place: Place, ref: ShardRef | DeltaObject, versions: list[int]) -> list[str]:
    """What is wrong with an object, in words."""
    shown = ", ".join(map(str, versions[:SHOWN])) + (f" and {len(versions) - SHOWN} more" * (len(versions) > SHOWN))
    where = f"{place.backend.uri}: {ref.key}, of version{'s' * (len(versions) > 1)} {shown}"
    try:
        wrong = list(_check_base(place, ref) if isinstance(ref, ShardRef) else _check_delta(place, ref))
    except MissingError:
        return [f"{where}, is missing"]
    except DamagedError as error:
        return [f"{where}, is damaged: {error}"]
    except StoreError as error:
        return [f"{where}: {error}"]
    return [f"{where}: {fault}" for fault in wrong]


def _check_base(place: Place, ref: ShardRef) -> Iterator[str]:
    schema, count = place.definition.base_schema, int(place.cuts[ref.shard + 1] - place.cuts[ref.shard])
    levels = np.bincount(read_base(place.backend, ref, count, schema)["level"], minlength=3)
    if (int(levels[ACCEPTED]), int(levels[FALLBACK])) != (ref.accepted, ref.fallback):
        yield (
            f"it has {levels[ACCEPTED]} accepted and {levels[FALLBACK]} fallback maps; its version says "
            f"{ref.accepted} and {ref.fallback}"
        )
    # Readers go by the table.
    table = read_table(place.backend, ref, count, schema)
    read_blocks(place.backend, ref, table, 0, len(table.checksums), count, schema)


def _check_delta(place: Place, ref: DeltaObject) -> Iterator[str]:
    data = memoryview(place.backend.read(ref.key))
    if len(data) != ref.size or sha256_of(data, ref.spans) != ref.sha256:
        raise DamagedError(f"it has {len(data)} bytes of {ref.size}, or its SHA-256 differs")
    accepted = 0
    for span in ref.spans:
        part = data[span.offset : span.offset + span.size]
        check_span(part, span)
        rows = decode(part, place.definition.delta_schema, span.rows)
        start, stop = place.cuts[span.shard], place.cuts[span.shard + 1]
        if rows["row"][0] < start or rows["row"][-1] >= stop or (np.diff(rows["row"]) <= 0).any():
            yield f"its rows for shard {span.shard} are not in order, or not of that shard"
        accepted += int(np.count_nonzero(rows["level"] == ACCEPTED))
    if accepted != ref.accepted:
        yield f"it has {accepted} accepted maps; its version says {ref.accepted}"


def _manifests(place: Place, faults: list[str]) -> Iterator[tuple[int, Manifest]]:
    backend = place.backend
    for entry in backend.list("manifest/"):
        _, run, name = entry.key.split("/")
        try:
            manifest = Manifest.unpack(backend.read(entry.key), f"{backend.uri}: {entry.key}")
            if (manifest.run, manifest.version) != (run, int(name.partition(".")[0])):
                faults.append(f"{backend.uri}: {entry.key} is of version {manifest.version} of run {manifest.run}")
            elif claimed_run(backend, manifest.version) != run:
                faults.append(f"{backend.uri}: {entry.key}: its number was claimed by another run")
            else:
                yield manifest.version, manifest
        except MissingError:  # collected or taken back since it was listed
            continue
        except StoreError as error:
            faults.append(str(error))


def _check_history(place: Place, manifests: dict[int, Manifest]) -> Iterator[str]:
    """What is wrong with parents, fences, heads and tags."""
    backend = place.backend
    for version, manifest in sorted(manifests.items()):
        parent = manifests.get(manifest.parent)
        if parent is not None and parent.sha256 != manifest.parent_sha256:
            yield f"{backend.uri}: version {version} was made of another version {manifest.parent} than is there"

    def points_well(what: str, version: int, sha256: str) -> Iterable[str]:
        if version and (version not in manifests or manifests[version].sha256 != sha256):
            yield f"{backend.uri}: {what} names version {version}, which is missing or another one"

    for run in runs_of(backend):
        try:
            newest_fence(backend, run)
            head = read_head(backend, run)
            if head is not None:
                yield from points_well(f"the head of run {run}", head[0].version, head[0].manifest_sha256)
        except StoreError as error:
            yield str(error)
    for entry in backend.list("tags/"):
        try:
            tag = Tag(**unpack(backend.read(entry.key), f"{backend.uri}: {entry.key}"))
            yield from points_well(f"tag {tag.name}", tag.version, tag.manifest_sha256)
        except StoreError as error:
            yield str(error)
