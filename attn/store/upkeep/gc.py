"""Collecting garbage: what no version that must stay names, and nobody may be writing.

Versions that stay: those with a tag, each run's head, its newest version with all between the two, and as many before
it as are asked for. Everything else goes, once it is older than a day: announced, so that nobody builds on it any more
(see `pins`), and manifests first, so that a version never lacks an object. Objects that no manifest names stay as long
as their session is its run's newest, whatever any clock says: it may be at work.
"""

from __future__ import annotations

__all__ = ["DAY_S", "Garbage", "collect"]

from dataclasses import dataclass

from attn.store.backends import Backend, Entry
from attn.store.errors import DamagedError, StoreError, VersionError
from attn.store.format.definition import Definition
from attn.store.format.manifest import Manifest, parse_manifest_key, read_if_there, read_manifest, runs_of, strays
from attn.store.protocol import failpoints
from attn.store.protocol.fence import newest_fence, read_head
from attn.store.protocol.history import newest_version
from attn.store.protocol.leases import DAY_S, LEFT, leased_versions, write_tombstone
from attn.store.protocol.tags import read_tags


@dataclass(frozen=True)
class Garbage:
    """What was, or would be, removed.

    Attributes:
        dry_run: Nothing was removed.
        versions: Numbers.
        kept: Numbers of the versions that stay.
        keys: All objects, manifests among them.
        size: Their bytes.
    """

    dry_run: bool
    versions: tuple[int, ...]
    kept: tuple[int, ...]
    keys: tuple[str, ...]
    size: int


def collect(backend: Backend, definition: Definition, *, dry_run: bool, keep: int) -> Garbage:
    """Find what can go and, unless this is a rehearsal, remove it.

    Args:
        keep: How many of each run's newest versions stay at least.

    Raises:
        DamagedError: A manifest cannot be read: nothing is removed, for it may name anything.
        StoreError: `keep` is not positive.
    """
    if keep < 1:
        raise StoreError(f"keep is {keep}; at least each run's newest version stays")
    now = backend.now()

    def old(entry: Entry) -> bool:
        return now - entry.modified > DAY_S

    # Listed before anything is marked: what is written from here on is not seen, and stays.
    folders = ("base/", "delta/", "index/", "probe/", *LEFT)
    entries = [entry for folder in folders for entry in backend.list(folder)]
    survey = _survey(backend, keep)
    gone = {key for key in survey.unwanted if old(survey.entries[key])}
    failpoints.hit("gc.marked")
    notice = ""
    if gone and not dry_run:
        notice = write_tombstone(backend, (survey.manifests[key].version for key in gone))
        failpoints.hit("gc.tombstones")
        survey = _survey(backend, keep, survey.manifests)
        gone &= survey.unwanted

    used = {key for name in survey.entries if name not in gone for key in survey.manifests[name].keys}
    known = {key for manifest in survey.manifests.values() for key in (*manifest.keys, *manifest.consumed)}
    live = {fence.attempt for run in runs_of(backend) if (fence := newest_fence(backend, run))}
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
        for key in sorted(gone):
            backend.delete(key)
            failpoints.hit("gc.manifest")
        if notice:
            backend.delete(notice)
        for entry in swept:
            backend.delete(entry.key)
            failpoints.hit("gc.object")
    removed = [survey.entries[key] for key in sorted(gone)] + swept
    return Garbage(
        dry_run,
        tuple(sorted(survey.manifests[key].version for key in gone)),
        tuple(sorted(survey.manifests[key].version for key in survey.entries if key not in gone)),
        tuple(entry.key for entry in removed),
        sum(entry.size for entry in removed),
    )


@dataclass(frozen=True)
class _Survey:
    """The versions that are there.

    Attributes:
        entries: Of their manifests, by key.
        manifests: By key; also some that are gone.
        unwanted: Keys of those that nothing wants.
    """

    entries: dict[str, Entry]
    manifests: dict[str, Manifest]
    unwanted: set[str]


def _survey(backend: Backend, keep: int, known: dict[str, Manifest] | None = None) -> _Survey:
    # Who knows what it names, had it its right name?
    if stray := next(iter(strays(backend)), None):
        raise DamagedError(
            f"{backend.uri}: {stray.key} is among the records, and is none by its name; nothing was removed. Give it "
            "its name again, or take it away"
        )
    entries = {entry.key: entry for entry in backend.list("manifest/")}
    manifests = dict(known or {})
    for key in sorted(entries.keys() - manifests.keys()):
        try:
            manifests[key] = _read(backend, key)
        except VersionError:  # another collector was faster
            del entries[key]
    kept = _kept(backend, {manifest.version: manifest for manifest in manifests.values()}, keep)
    return _Survey(entries, manifests, {key for key in entries if manifests[key].version not in kept})


def _kept(backend: Backend, manifests: dict[int, Manifest], keep: int) -> set[int]:
    """Versions that must stay."""
    kept = leased_versions(backend) | {tag.version for tag in read_tags(backend).values()}
    for run in runs_of(backend):
        head, fence = read_head(backend, run), newest_fence(backend, run)
        last = head[0].version if head else 0
        kept |= {last, fence.from_version if fence else 0}
        manifest: Manifest | None = newest_version(backend, run)
        count = 0
        # A checkpoint that is durable while the head lags behind lies between the head and the newest.
        while manifest is not None and manifest.version and (count < keep or manifest.version > last):
            kept.add(manifest.version)
            count += 1
            manifest = manifests.get(manifest.parent) or read_if_there(backend, manifest.parent)
    return kept


def _read(backend: Backend, key: str) -> Manifest:
    named = parse_manifest_key(key)
    assert named is not None, "it is no stray"
    return read_manifest(backend, named[1], named[0])


def _attempt(key: str) -> str:
    """The session that wrote a base or delta object; empty for others."""
    parts = key.split("/")
    if parts[0] == "delta" and len(parts) == 4:
        return parts[2]
    return parts[2].rpartition("-")[0] if parts[0] == "base" and len(parts) == 3 else ""
