"""Garbage collection: removes objects that no kept version names and that no process may still be writing.

Kept versions are tagged versions, each run's head, its newest version, all versions between the two, and the number of
older ones that the caller asks for. Everything else is removed once it is older than a day. Versions get a tombstone
first, so that no process starts to use them (see `leases`), and manifests are removed before objects, so that a version
never lacks an object. Objects that no manifest names stay while their session is the newest of its run, whatever the
clocks say: it may still be writing.
"""

from __future__ import annotations

__all__ = ["DAY_S", "Garbage", "collect"]

from dataclasses import dataclass

from attn import progress
from attn.store.backends import Backend, Entry
from attn.store.errors import DamagedError, StoreError, VersionError
from attn.store.format.definition import Definition
from attn.store.format.manifest import Manifest, list_runs, parse_manifest_key, read_manifest, strays, try_read_manifest
from attn.store.protocol import failpoints
from attn.store.protocol.fence import newest_fence, read_head
from attn.store.protocol.history import newest_version
from attn.store.protocol.leases import DAY_S, FOLDERS, leased_versions, write_tombstone
from attn.store.protocol.tags import read_tags


@dataclass(frozen=True)
class Garbage:
    """The objects that were removed or, after a dry run, would be.

    Attributes:
        dry_run: True: nothing was removed.
        versions: Numbers of the removed versions.
        kept: Numbers of the kept versions.
        keys: All removed objects, including manifests.
        size: Bytes of the removed objects.
    """

    dry_run: bool
    versions: tuple[int, ...]
    kept: tuple[int, ...]
    keys: tuple[str, ...]
    size: int


def collect(backend: Backend, definition: Definition, *, dry_run: bool, keep: int) -> Garbage:
    """Find garbage and, unless `dry_run`, remove it.

    Args:
        keep: Minimum number of newest versions to keep per run.

    Raises:
        DamagedError: A manifest cannot be read. Nothing is removed, because it may name any object.
        StoreError: `keep` is not positive.
    """
    if keep < 1:
        raise StoreError(f"keep is {keep}; it must be at least 1: each run's newest version is always kept")
    now = backend.now()

    def old(entry: Entry) -> bool:
        return now - entry.modified > DAY_S

    # Listed before marking: objects written from here on are not listed, and so not removed.
    folders = ("base/", "delta/", "index/", "probe/", *FOLDERS)
    entries = [entry for folder in folders for entry in backend.list(folder)]
    survey = _survey(backend, keep)
    removed_keys = {key for key in survey.unwanted if old(survey.entries[key])}
    failpoints.hit("gc.marked")
    tombstone = ""
    if removed_keys and not dry_run:
        tombstone = write_tombstone(backend, (survey.manifests[key].version for key in removed_keys))
        failpoints.hit("gc.tombstones")
        survey = _survey(backend, keep, survey.manifests)
        removed_keys &= survey.unwanted

    used = {key for name in survey.entries if name not in removed_keys for key in survey.manifests[name].keys}
    known = {key for manifest in survey.manifests.values() for key in (*manifest.keys, *manifest.consumed)}
    live = {fence.attempt for run in list_runs(backend) if (fence := newest_fence(backend, run))}
    swept = [
        entry
        for entry in entries
        if entry.key not in used
        and entry.key != definition.index
        and old(entry)
        and (entry.key in known or _attempt(entry.key) not in live)
    ]
    swept += [entry for entry in backend.leftovers() if old(entry)]

    if not dry_run:
        for key in sorted(removed_keys):
            backend.delete(key)
            failpoints.hit("gc.manifest")
        if tombstone:
            backend.delete(tombstone)
        for entry in progress.steps_of(swept, "removing objects", len(swept), "objects"):
            backend.delete(entry.key)
            failpoints.hit("gc.object")
    removed = [survey.entries[key] for key in sorted(removed_keys)] + swept
    return Garbage(
        dry_run,
        tuple(sorted(survey.manifests[key].version for key in removed_keys)),
        tuple(sorted(survey.manifests[key].version for key in survey.entries if key not in removed_keys)),
        tuple(entry.key for entry in removed),
        sum(entry.size for entry in removed),
    )


@dataclass(frozen=True)
class _Survey:
    """The store's versions.

    Attributes:
        entries: Listing entries of the manifests, by key.
        manifests: Manifests by key, including some that were removed since.
        unwanted: Keys of the manifests that need not be kept.
    """

    entries: dict[str, Entry]
    manifests: dict[str, Manifest]
    unwanted: set[str]


def _survey(backend: Backend, keep: int, known: dict[str, Manifest] | None = None) -> _Survey:
    # A renamed manifest may name objects that are still needed.
    if stray := next(iter(strays(backend)), None):
        raise DamagedError(
            f"{backend.uri}: {stray.key} is not a valid name of a record; nothing was removed. Rename it back, or move "
            "it out of the store"
        )
    entries = {entry.key: entry for entry in backend.list("manifest/")}
    manifests = dict(known or {})
    for key in sorted(entries.keys() - manifests.keys()):
        try:
            manifests[key] = _read(backend, key)
        except VersionError:  # another collector was faster
            del entries[key]
    kept = _versions_to_keep(backend, {manifest.version: manifest for manifest in manifests.values()}, keep)
    return _Survey(entries, manifests, {key for key in entries if manifests[key].version not in kept})


def _versions_to_keep(backend: Backend, manifests: dict[int, Manifest], keep: int) -> set[int]:
    """Numbers of the versions to keep."""
    kept = leased_versions(backend) | {tag.version for tag in read_tags(backend).values()}
    for run in list_runs(backend):
        head, fence = read_head(backend, run), newest_fence(backend, run)
        last = head[0].version if head else 0
        kept |= {last, fence.from_version if fence else 0}
        manifest: Manifest | None = newest_version(backend, run)
        count = 0
        # Up to the head: a durable checkpoint may name any version between the head and the newest.
        while manifest is not None and manifest.version and (count < keep or manifest.version > last):
            kept.add(manifest.version)
            count += 1
            manifest = manifests.get(manifest.parent) or try_read_manifest(backend, manifest.parent)
    return kept


def _read(backend: Backend, key: str) -> Manifest:
    named = parse_manifest_key(key)
    assert named is not None, "strays were refused before"
    return read_manifest(backend, named[1], named[0])


def _attempt(key: str) -> str:
    """The session that wrote a base or delta object; empty for other objects."""
    parts = key.split("/")
    if parts[0] == "delta" and len(parts) == 4:
        return parts[2]
    return parts[2].rpartition("-")[0] if parts[0] == "base" and len(parts) == 3 else ""
