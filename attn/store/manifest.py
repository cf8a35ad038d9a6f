"""Manifests: what a version consists of, and how versions get their numbers.

A version's number is claimed first (`version/<number>.json`, created exclusively), for the whole store, so that a
number means one version whichever run made it. Then the manifest is created exclusively under its run; with that the
version exists. A claim without manifest is a commit that never happened, and its number is not used again.
"""

from __future__ import annotations

__all__ = [
    "Manifest",
    "ShardRef",
    "claim",
    "claimed_run",
    "manifest_key",
    "newest_claim",
    "read_if_there",
    "read_manifest",
    "runs_of",
    "version_numbers",
]

import dataclasses
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from attn.store.backends import Backend
from attn.store.delta import DeltaRef
from attn.store.errors import DamagedError, MissingError, StoreError, VersionError
from attn.store.records import pack, unpack

_CLAIMS = 64


@dataclass(frozen=True)
class ShardRef:
    """A base object: its name, and what must be found there.

    Attributes:
        table: Place of the table of its batches (see `codec`).
        table_sha256: Of the table.
        accepted: Rows with an accepted map.
        fallback: Rows with a fallback map.
    """

    shard: int
    key: str
    size: int
    sha256: str
    table: int
    table_sha256: str
    accepted: int
    fallback: int


@dataclass(frozen=True)
class Manifest:
    """One version of a store.

    Attributes:
        version: Its number; 0 is the empty version that every store begins with.
        parent: The version that it continues.
        parent_sha256: SHA-256 of the parent's manifest object.
        epoch: The epoch that was committed last.
        fence: Of the session that made it; 0 for a fork.
        shards: Base objects, ascending; a shard without one is empty.
        pending: Sealed deltas that the next commit merges.
        consumed: Objects of the deltas that this commit merged, which nothing but an older version needs.
        merged: Of this commit: `rows` with a map, `accepted` and `fallback` maps, `deltas`, and `expected` rows.
        about: What the caller wanted to note.
    """

    version: int
    run: str
    parent: int
    parent_sha256: str
    epoch: int
    attempt: str
    fence: int
    nonce: str
    created: float
    shards: tuple[ShardRef, ...]
    pending: tuple[DeltaRef, ...]
    consumed: tuple[str, ...]
    merged: dict[str, int | None]
    about: dict[str, Any]

    @classmethod
    def empty(cls, run: str) -> Manifest:
        """Version 0, which is not stored."""
        return cls(0, run, 0, "", -1, "", 0, "", 0.0, (), (), (), {}, {})

    @property
    def accepted(self) -> int:
        """Rows with an accepted map."""
        return sum(item.accepted for item in self.shards)

    @property
    def fallback(self) -> int:
        """Rows with a fallback map."""
        return sum(item.fallback for item in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all objects that it names."""
        return sum(item.size for item in self.shards) + sum(item.size for item in self.pending)

    @property
    def keys(self) -> set[str]:
        """All objects that it names."""
        pending = {item.key for ref in self.pending for item in ref.objects}
        return {item.key for item in self.shards} | pending

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest object; empty for version 0."""
        return hashlib.sha256(self.pack()).hexdigest() if self.version else ""

    def pack(self) -> bytes:
        """As the bytes of a manifest object."""
        return pack(dataclasses.asdict(self))

    @classmethod
    def unpack(cls, data: bytes, name: str) -> Manifest:
        """What `pack` made.

        Raises:
            DamagedError: It is damaged.
        """
        record = unpack(data, name)
        record["shards"] = tuple(ShardRef(**item) for item in record["shards"])
        record["pending"] = tuple(DeltaRef.from_json(item) for item in record["pending"])
        record["consumed"] = tuple(record["consumed"])
        return cls(**record)


def manifest_key(run: str, version: int) -> str:
    """Name of a manifest object."""
    return f"manifest/{run}/{version:020d}.json"


def _claim_key(version: int) -> str:
    return f"version/{version:020d}.json"


def claim(backend: Backend, run: str, above: int) -> int:
    """Take the next free version number above one.

    Raises:
        StoreError: Others were faster each time.
    """
    data = pack({"run": run, "nonce": secrets.token_hex(16)})
    number = max(above, newest_claim(backend, above)) + 1
    for version in range(number, number + _CLAIMS):
        if backend.create(_claim_key(version), data):
            return version
    raise StoreError(
        f"{backend.uri}: {_CLAIMS} version numbers from {number} on were taken by others meanwhile; try again"
    )


def newest_claim(backend: Backend, above: int = 0) -> int:
    """The greatest number that was claimed above one; 0 where there is none."""
    taken = backend.list("version/", after=_claim_key(above))
    return _number(taken[-1].key) if taken else 0


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].partition(".")[0])


def version_numbers(backend: Backend, run: str, after: int = 0) -> list[int]:
    """Numbers of a run's versions, ascending."""
    prefix = f"manifest/{run}/"
    return [_number(entry.key) for entry in backend.list(prefix, after=manifest_key(run, after))]


def runs_of(backend: Backend) -> list[str]:
    """Runs that have versions or have begun."""
    keys = [entry.key for prefix in ("heads/", "fence/", "manifest/") for entry in backend.list(prefix)]
    return sorted({key.split("/")[1].removesuffix(".json") for key in keys})


def read_manifest(backend: Backend, version: int, run: str | None = None) -> Manifest:
    """A version's manifest.

    Args:
        run: Of the version; left out, it is looked up.

    Raises:
        VersionError: There is no such version.
        DamagedError: The manifest is damaged.
    """
    if version == 0:
        return Manifest.empty(run or "")
    if run is None:
        run = claimed_run(backend, version)
    key = manifest_key(run, version)
    try:
        found = Manifest.unpack(backend.read(key), f"{backend.uri}: {key}")
    except MissingError:
        raise VersionError(f"{backend.uri}: run {run} has no version {version}; `attn store show` lists them") from None
    if (found.version, found.run) != (version, run):
        raise DamagedError(f"{backend.uri}: {key} is the manifest of version {found.version} of run {found.run}")
    return found


def read_if_there(backend: Backend, version: int, run: str | None = None) -> Manifest | None:
    """A version that was listed or named; None where it has been collected or taken back since."""
    try:
        return read_manifest(backend, version, run)
    except VersionError:
        return None


def claimed_run(backend: Backend, version: int) -> str:
    """The run that claimed a version's number.

    Raises:
        VersionError: None did.
    """
    key = _claim_key(version)
    try:
        return str(unpack(backend.read(key), f"{backend.uri}: {key}")["run"])
    except MissingError:
        raise VersionError(f"{backend.uri} has no version {version}; `attn store show` lists them") from None
