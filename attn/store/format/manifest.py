"""Manifests: the objects of a version, and how versions get their numbers.

A commit first claims a number that is unique in the store, by creating `version/<number>.json` exclusively. Then it
creates the manifest under its run exclusively; from then on the version exists. A claim without a manifest is a commit
that did not finish; its number is not used again.
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
    "try_read_manifest",
    "read_manifest",
    "list_runs",
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
    MAX_RECORD_BYTES,
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

_TENTATIVE = "attn.tentative"
"""Name among a manifest's JSON values: its run had no durable checkpoint that names the version."""
_CLAIMS = 64
_MAX_VERSIONS = 10**15
_MANIFEST_KEY = re.compile(rf"manifest/({NAME})/(00000[0-9]{{15}})[.]json")
_CLAIM_KEY = re.compile(r"version/(00000[0-9]{15})[.]json")
_OF_RUN = re.compile(rf"heads/({NAME})[.]json|fence/({NAME})/[0-9]{{6}}[.]json|{_MANIFEST_KEY.pattern}")
_OTHERS = re.compile(rf"tags/{NAME}[.]json|(pins|notices)/[0-9a-f]{{32}}[.]json")
_RECORDS = ("heads/", "fence/", "manifest/", "version/", "tags/", "pins/", "notices/")


@dataclass(frozen=True)
class ShardRef:
    """Reference to a base object: key, expected size and hashes, and counts.

    Attributes:
        table: Byte offset of the table of batches (see `codec`).
        table_sha256: SHA-256 of the table.
        accepted: Number of rows with an accepted map.
        fallback: Number of rows with a fallback map.
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
        version: The version's number; 0 is the empty version of every store.
        parent: The version that it continues.
        parent_sha256: SHA-256 of the parent's manifest object.
        epoch: The epoch that was committed last.
        fence: Fence number of the session that committed it.
        shards: Base objects by ascending shard; a shard without one is empty.
        pending: Sealed deltas that the next commit merges.
        consumed: Delta objects that this commit merged; only older versions still need them.
        merged: Counts of this commit: `rows` with a map, `accepted` and `fallback` maps, `deltas`, and `expected` rows.
        metadata: JSON values from the caller. The object's key is `about`.
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
        """Version 0, which has no manifest object."""
        return cls(0, run, 0, "", -1, "", 0, "", 0.0, (), (), (), {}, {})

    @property
    def tentative(self) -> bool:
        """Return whether it was committed before a durable checkpoint named it, so that a restart may abandon it."""
        return self.metadata.get(_TENTATIVE) is True

    @staticmethod
    def with_mark(metadata: dict[str, Any] | None, *, tentative: bool) -> dict[str, Any]:
        """The caller's JSON values with the mark that `tentative` reads, or without it."""
        values = {name: value for name, value in (metadata or {}).items() if name != _TENTATIVE}
        return values | ({_TENTATIVE: True} if tentative else {})

    @property
    def accepted(self) -> int:
        """Number of rows with an accepted map."""
        return sum(item.accepted for item in self.shards)

    @property
    def fallback(self) -> int:
        """Number of rows with a fallback map."""
        return sum(item.fallback for item in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all objects of the version."""
        return sum(item.size for item in self.shards) + sum(item.size for item in self.pending)

    @property
    def keys(self) -> set[str]:
        """Keys of all objects of the version."""
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
        """Parse the bytes of a manifest object.

        Raises:
            DamagedError: They are damaged.
        """
        result = parse(data, name, cls)
        if result.parent >= result.version or (result.parent == 0) != (result.parent_sha256 == ""):
            raise DamagedError(f"{name} is damaged: version {result.version} cannot continue version {result.parent}")
        return result


@dataclass(frozen=True)
class Claim:
    """Reserves a version number for a run."""

    __pydantic_config__ = STRICT

    run: Name
    nonce: Hex


def manifest_key(run: str, version: int) -> str:
    """Name of a manifest object."""
    return f"manifest/{run}/{version:020d}.json"


def parse_manifest_key(key: str) -> tuple[str, int] | None:
    """Run and version of a manifest's key; None for any other key."""
    match = _MANIFEST_KEY.fullmatch(key)
    return (match[1], int(match[2])) if match else None


def _claim_key(version: int) -> str:
    return f"version/{version:020d}.json"


def claim(backend: Backend, run: str, above: int) -> int:
    """Claim the next free version number greater than `above`.

    Raises:
        StoreError: Other processes claimed every number that was tried.
    """
    data = pack(dataclasses.asdict(Claim(run, secrets.token_hex(16))))
    number = max(above, newest_claim(backend, above)) + 1
    for version in range(number, number + _CLAIMS):
        if backend.create(_claim_key(version), data):
            return version
    raise StoreError(
        f"{backend.uri}: other processes claimed all of {_CLAIMS} version numbers from {number} on; try again"
    )


def newest_claim(backend: Backend, above: int = 0) -> int:
    """The greatest claimed number that exceeds `above`; 0 if there is none.

    Raises:
        DamagedError: The number is impossibly large.
    """
    results = [parse_claim_key(entry.key) for entry in backend.list("version/", after=_claim_key(above))]
    newest = max((number for number in results if number is not None), default=0)
    if newest + _CLAIMS > _MAX_VERSIONS:
        raise DamagedError(f"{backend.uri}: {_claim_key(newest)} claims an impossibly large number: remove it")
    return newest


def version_numbers(backend: Backend, run: str, after: int = 0) -> list[int]:
    """Numbers of a run's versions, ascending."""
    entries = backend.list(f"manifest/{run}/", after=manifest_key(run, after))
    return [result[1] for entry in entries if (result := parse_manifest_key(entry.key))]


def list_runs(backend: Backend) -> list[str]:
    """Names of all runs that have begun or have versions."""
    keys = [entry.key for prefix in ("heads/", "fence/", "manifest/") for entry in backend.list(prefix)]
    return sorted({match[1] or match[2] or match[3] for key in keys if (match := _OF_RUN.fullmatch(key))})


def parse_claim_key(key: str) -> int | None:
    """The version of a claim's key; None for any other key."""
    match = _CLAIM_KEY.fullmatch(key)
    return int(match[1]) if match else None


def strays(backend: Backend) -> list[Entry]:
    """Objects in the folders of records under names that no record has, such as renamed records."""
    entries = [entry for prefix in _RECORDS for entry in backend.list(prefix)]
    forms = (_OF_RUN, _CLAIM_KEY, _OTHERS)
    return [entry for entry in entries if not any(form.fullmatch(entry.key) for form in forms)]


def read_manifest(backend: Backend, version: int, run: str | None = None) -> Manifest:
    """Read a version's manifest.

    Args:
        run: The version's run; None: look it up in the claim.

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
        result = Manifest.unpack(backend.read(key, 0, MAX_RECORD_BYTES + 1), f"{backend.uri}: {key}")
    except MissingError:
        raise VersionError(f"{backend.uri}: run {run} has no version {version}; `attn store show` lists them") from None
    if (result.version, result.run) != (version, run):
        raise DamagedError(f"{backend.uri}: {key} is the manifest of version {result.version} of run {result.run}")
    return result


def try_read_manifest(backend: Backend, version: int, run: str | None = None) -> Manifest | None:
    """Read the manifest of a version; None if the version does not exist, or no longer."""
    try:
        return read_manifest(backend, version, run)
    except VersionError:
        return None


def claimed_run(backend: Backend, version: int) -> str:
    """The run that claimed a version's number.

    Raises:
        VersionError: No run did.
    """
    key = _claim_key(version)
    try:
        return read_record(backend, key, Claim).run
    except MissingError:
        raise VersionError(f"{backend.uri} has no version {version}; `attn store show` lists them") from None
