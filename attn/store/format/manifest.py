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
    "parse_claim_key",
    "parse_manifest_key",
    "read_if_there",
    "read_manifest",
    "runs_of",
    "strays",
    "version_numbers",
]

import dataclasses
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from attn.store.backends import Backend, Entry
from attn.store.errors import DamagedError, MissingError, StoreError, VersionError
from attn.store.format.delta import DeltaKey, DeltaRef
from attn.store.format.records import (
    LARGEST,
    NAME,
    STRICT,
    Count,
    Hex,
    Name,
    Number,
    Seconds,
    Sha256,
    pack,
    parse,
    read_record,
)

_CLAIMS = 64
_MOST_VERSIONS = 10**15
_MANIFEST_KEY = re.compile(rf"manifest/({NAME})/(00000[0-9]{{15}})[.]json")
_CLAIM_KEY = re.compile(r"version/(00000[0-9]{15})[.]json")
_OF_RUN = re.compile(rf"heads/({NAME})[.]json|fence/({NAME})/[0-9]{{6}}[.]json|{_MANIFEST_KEY.pattern}")
_OTHERS = re.compile(rf"tags/{NAME}[.]json|(pins|notices)/[0-9a-f]{{32}}[.]json")
_RECORDS = ("heads/", "fence/", "manifest/", "version/", "tags/", "pins/", "notices/")


@dataclass(frozen=True)
class ShardRef:
    """A base object: its name, and what must be found there.

    Attributes:
        table: Place of the table of its batches (see `codec`).
        table_sha256: Of the table.
        accepted: Rows with an accepted map.
        fallback: Rows with a fallback map.
    """

    __pydantic_config__ = STRICT

    shard: Count
    key: Annotated[str, Field(pattern=f"^base/[0-9]{{5,16}}/{NAME}[.]arrow$")]
    size: Count
    sha256: Sha256
    table: Count
    table_sha256: Sha256
    accepted: Count
    fallback: Count


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
        metadata: JSON values of the caller's; `about` in the object.
    """

    __pydantic_config__ = STRICT

    version: Number
    run: Name
    parent: Count
    parent_sha256: Sha256 | Literal[""]
    epoch: Annotated[int, Field(ge=-1, le=2**31)]
    attempt: Name
    fence: Count
    nonce: Hex
    created: Seconds
    shards: tuple[ShardRef, ...]
    pending: tuple[DeltaRef, ...]
    consumed: tuple[DeltaKey, ...]
    merged: dict[str, Count | None]
    metadata: Annotated[dict[str, Any], Field(alias="about")]

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
        """The bytes of a manifest object."""
        record = dataclasses.asdict(self)
        return pack(record | {"about": record.pop("metadata")})

    @classmethod
    def unpack(cls, data: bytes, name: str) -> Manifest:
        """What `pack` made.

        Raises:
            DamagedError: It is damaged.
        """
        found = parse(data, name, cls)
        if found.parent >= found.version or (found.parent == 0) != (found.parent_sha256 == ""):
            raise DamagedError(f"{name} is damaged: version {found.version} cannot continue version {found.parent}")
        return found


@dataclass(frozen=True)
class Claim:
    """That a version's number is a run's."""

    __pydantic_config__ = STRICT

    run: Name
    nonce: Hex


def manifest_key(run: str, version: int) -> str:
    """Name of a manifest object."""
    return f"manifest/{run}/{version:020d}.json"


def parse_manifest_key(key: str) -> tuple[str, int] | None:
    """Run and version of the manifest with this name; None where it is no such name."""
    found = _MANIFEST_KEY.fullmatch(key)
    return (found[1], int(found[2])) if found else None


def _claim_key(version: int) -> str:
    return f"version/{version:020d}.json"


def claim(backend: Backend, run: str, above: int) -> int:
    """Take the next free version number above one.

    Raises:
        StoreError: Others were faster each time.
    """
    data = pack(dataclasses.asdict(Claim(run, secrets.token_hex(16))))
    number = max(above, newest_claim(backend, above)) + 1
    for version in range(number, number + _CLAIMS):
        if backend.create(_claim_key(version), data):
            return version
    raise StoreError(
        f"{backend.uri}: {_CLAIMS} version numbers from {number} on were taken by others meanwhile; try again"
    )


def newest_claim(backend: Backend, above: int = 0) -> int:
    """The greatest number that was claimed above one; 0 where there is none.

    Raises:
        DamagedError: No number can follow it.
    """
    found = [parse_claim_key(entry.key) for entry in backend.list("version/", after=_claim_key(above))]
    newest = max((number for number in found if number is not None), default=0)
    if newest + _CLAIMS > _MOST_VERSIONS:
        raise DamagedError(f"{backend.uri}: {_claim_key(newest)} claims a number that no store reaches: take it away")
    return newest


def version_numbers(backend: Backend, run: str, after: int = 0) -> list[int]:
    """Numbers of a run's versions, ascending."""
    entries = backend.list(f"manifest/{run}/", after=manifest_key(run, after))
    return [found[1] for entry in entries if (found := parse_manifest_key(entry.key))]


def runs_of(backend: Backend) -> list[str]:
    """Runs that have versions or have begun."""
    keys = [entry.key for prefix in ("heads/", "fence/", "manifest/") for entry in backend.list(prefix)]
    return sorted({found[1] or found[2] or found[3] for key in keys if (found := _OF_RUN.fullmatch(key))})


def parse_claim_key(key: str) -> int | None:
    """The number that is claimed under this name; None where it is no such name."""
    found = _CLAIM_KEY.fullmatch(key)
    return int(found[1]) if found else None


def strays(backend: Backend) -> list[Entry]:
    """What lies among the records under a name that no record has, such as one that somebody renamed."""
    entries = [entry for prefix in _RECORDS for entry in backend.list(prefix)]
    forms = (_OF_RUN, _CLAIM_KEY, _OTHERS)
    return [entry for entry in entries if not any(form.fullmatch(entry.key) for form in forms)]


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
        found = Manifest.unpack(backend.read(key, 0, LARGEST + 1), f"{backend.uri}: {key}")
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
        return read_record(backend, key, Claim).run
    except MissingError:
        raise VersionError(f"{backend.uri} has no version {version}; `attn store show` lists them") from None
