"""Map stores that somebody has tampered with and signed anew: every hash fits, and the content is hostile.

`STORES` has a builder for each: it writes the store into a folder.
"""

from __future__ import annotations

__all__ = ["CHANGES", "FREE", "ON_DISK", "STORES", "Objects", "fields_of", "record_changes", "template"]

import copy
import functools
import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attn.store.format.records import pack
from tests.hostile.arrow_files import claiming_much, index_of, with_a_level, with_fewer_rows
from tests.store.small import whole_run

Objects = dict[str, bytes]
"""A store's objects by key."""
Change = Callable[[Objects, np.random.Generator], None]
Builder = Callable[[Path, np.random.Generator], None]
Edit = Callable[[Any], object]

FENCE, HEAD, TAG = "fence/run/000001.json", "heads/run.json", "tags/kept.json"
CLAIM, DEAD_CLAIM = "version/00000000000000000004.json", "version/00000000000000000009.json"
OLD, PENDING, NEWEST = (f"manifest/run/{number:020d}.json" for number in (2, 3, 4))
PIN, NOTICE = f"pins/{'0' * 32}.json", f"notices/{'1' * 32}.json"
TABLE_LENGTH = 32
"""Of an object with one record batch, as all of these are."""
RECORDS = ("store.json", FENCE, HEAD, TAG, CLAIM, DEAD_CLAIM, OLD, PENDING, NEWEST, PIN, NOTICE)

WRONG: tuple[object, ...] = (
    None, True, -1, 0, 1.5, 10**12, 2**63, 10**30, float("nan"), float("inf"), "", "x", "../../etc/passwd", "a\0b",
    "\ud800", [], [[]], [None], {}, {"x": 1}, [0, 0], [-4, 5], [10**6, 10**6], [4.0, 5.5],
)  # fmt: skip
"""Of these a field gets `A_FIELD` in turn, each field others."""
A_FIELD = 2

FREE = {
    "store.json": {"uuid", "fingerprint", "classes"},
    FENCE: {"created"},
    HEAD: {"nonce", "fence"},
    TAG: {"nonce"},
    CLAIM: {"nonce"},
    DEAD_CLAIM: {"nonce", "run"},
    PIN: {"versions"},
    NOTICE: {"versions"},
}
"""Fields that may have other values of their type, which nothing else in a store contradicts."""


@functools.cache
def _template() -> Objects:
    with tempfile.TemporaryDirectory() as folder:
        store = whole_run(f"{folder}/store")
        store.tag("kept", 2)
        results = {entry.key: (Path(store.uri) / entry.key).read_bytes() for entry in store._handle.backend.list("")}
    results[DEAD_CLAIM] = pack({"run": "run", "nonce": "ab" * 16})
    results[PIN] = results[NOTICE] = pack({"versions": [1, 2]})
    return results


def template() -> Objects:
    """A store of three shards with two epochs in four versions, the second and last of which have no pending deltas."""
    return dict(_template())


def record(objects: Objects, key: str) -> dict[str, Any]:
    """What a record says."""
    results: dict[str, Any] = json.loads(objects[key])
    del results["sha256"]
    return results


def resign(objects: Objects, key: str, edit: Edit) -> None:
    """Change a record and give it the hash that fits."""
    changed = record(objects, key)
    edit(changed)
    objects[key] = pack(changed)


def fields_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all fields of a record; of a list, of its first item."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from fields_of(value[name], (*path, name))
    elif isinstance(value, list) and value:
        yield from fields_of(value[0], (*path, 0))


def record_changes() -> Iterator[tuple[str, tuple[str | int, ...], str, Change]]:
    """Every field of every record with some wrong values, absent, and with an unknown neighbour: key, field, name."""
    chosen = random.Random(0)
    for key in RECORDS:
        for path in fields_of(record(template(), key)):
            for value in chosen.sample(WRONG, A_FIELD):
                yield key, path, f"{_name(key, path)} is {value!a}"[:90], _set(key, path, value)
            yield key, path, f"{_name(key, path)} is absent", _drop(key, path)
        yield key, ("unknown",), f"{_name(key, ('unknown',))} is there", _set(key, ("unknown",), 1)


def _name(key: str, path: tuple[str | int, ...]) -> str:
    return f"{key.split('/')[0]}.{'.'.join(map(str, path))}"


def _inside(value: Any, path: tuple[str | int, ...]) -> Any:
    return functools.reduce(lambda inner, step: inner[step], path[:-1], value)


def _set(key: str, path: tuple[str | int, ...], value: object) -> Change:
    def change(objects: Objects, _: np.random.Generator) -> None:
        resign(objects, key, lambda content: _inside(content, path).__setitem__(path[-1], copy.deepcopy(value)))

    return change


def _drop(key: str, path: tuple[str | int, ...]) -> Change:
    def change(objects: Objects, _: np.random.Generator) -> None:
        resign(objects, key, lambda content: _inside(content, path).__delitem__(path[-1]))

    return change


def _raw(key: str, data: bytes) -> Change:
    return lambda objects, _: objects.__setitem__(key, data)


def _move(old: str, new: str) -> Change:
    return lambda objects, _: objects.__setitem__(new, objects.pop(old))


def _signed(text: str) -> bytes:
    """A text in a record's place with a hash that fits as well as one can."""
    return json.dumps({"about": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def _base(edit: Callable[[bytes, np.random.Generator], bytes]) -> Change:
    """Change the newest version's first base object, and have its manifest and the head describe that."""

    def change(objects: Objects, rng: np.random.Generator) -> None:
        def describe(content: dict[str, Any]) -> None:
            shard = content["shards"][0]
            data = edit(objects[shard["key"]], rng)
            table = data[shard["table"] : shard["table"] + TABLE_LENGTH]
            shard["size"], shard["sha256"] = len(data), hashlib.sha256(data).hexdigest()
            shard["table_sha256"] = hashlib.sha256(table).hexdigest()
            objects[shard["key"]] = data

        _publish(objects, describe)

    return change


def _publish(objects: Objects, edit: Edit) -> None:
    """Change the newest manifest, and have the head name what came of it."""
    resign(objects, NEWEST, edit)
    sha256 = hashlib.sha256(objects[NEWEST]).hexdigest()
    resign(objects, HEAD, lambda head: head.__setitem__("manifest_sha256", sha256))


def _published(path: tuple[str | int, ...], value: object) -> Change:
    """As `_set` of the newest manifest, with a head that agrees."""
    return lambda objects, _: _publish(
        objects, lambda content: _inside(content, path).__setitem__(path[-1], copy.deepcopy(value))
    )


def _index(make: Callable[[], bytes], **described: int) -> Change:
    """Another index, and a definition that describes it."""

    def change(objects: Objects, _: np.random.Generator) -> None:
        data = make()

        def describe(content: dict[str, Any]) -> None:
            objects[content["index"]] = data
            content["index_sha256"] = hashlib.sha256(data).hexdigest()
            content.update(described)

        resign(objects, "store.json", describe)

    return change


def _deep(depth: int) -> bytes:
    return b'{"about": ' + b"[" * depth + b"]" * depth + b', "sha256": "00"}'


CHANGES: dict[str, Change] = {
    "good": lambda _, __: None,
    "a grid of 0 by 0": _set("store.json", ("grid",), [0, 0]),
    "a negative grid": _set("store.json", ("grid",), [-4, 5]),
    "a huge grid": _set("store.json", ("grid",), [10**9, 10**9]),
    "a grid of the largest sides": _set("store.json", ("grid",), [4096, 4096]),
    "a grid of fractions": _set("store.json", ("grid",), [4.0, 5.5]),
    "a grid of three sides": _set("store.json", ("grid",), [4, 5, 1]),
    "another grid of as many positions": _set("store.json", ("grid",), [5, 4]),
    "another fusion": _set("store.json", ("fusion",), "mean"),
    "an unknown format": _set("store.json", ("format",), 99),
    "a format that is a list": _set("store.json", ("format",), [1]),
    "a million million rows": _set("store.json", ("rows",), 10**12),
    "a million million rows a shard": _set("store.json", ("rows_per_shard",), 10**12),
    "another cut of the shards": _set("store.json", ("rows_per_shard",), 1),
    "an index out of the store": _set("store.json", ("index",), "../../etc/passwd"),
    "an index that is another object": _set("store.json", ("index",), "store.json"),
    "too few names of classes": _set("store.json", ("classes",), ["a"]),
    "class names that are numbers": _set("store.json", ("classes",), [1, 2, 3, 4]),
    "a definition that is a list": _raw("store.json", b"[]"),
    "a definition that is a number": _raw("store.json", b"7"),
    "a definition that is no text": _raw("store.json", bytes(range(256))),
    "an empty definition": _raw("store.json", b""),
    "a deep definition": _raw("store.json", _deep(100_000)),
    "a definition with a number of 5,000 digits": _raw("store.json", b'{"rows": ' + b"9" * 5000 + b', "sha256": ""}'),
    "a definition that is not one": _raw("store.json", _signed("x")),
    "an index that is no Arrow": _index(lambda: b"nothing of the kind"),
    "an index without images": _index(lambda: index_of([], [])),
    "an index out of order": _index(lambda: index_of(["b", "a"], [[1], [1]]), rows=2, images=2),
    "an index with an image twice": _index(lambda: index_of(["a", "a"], [[1], [1]]), rows=2, images=2),
    "an index with a class twice": _index(lambda: index_of(["a", "b"], [[1, 1], [1]]), rows=3, images=2),
    "an index with a class below 0": _index(lambda: index_of(["a", "b"], [[-1], [1]]), rows=2, images=2),
    "an index with an image of no row": _index(lambda: index_of(["a", "b"], [[], [1]]), rows=1, images=2),
    "an index of other rows": _index(lambda: index_of(["a", "b"], [[1], [1]]), rows=2, images=2),
    "a base object out of the store": _published(("shards", 0, "key"), "../../etc/passwd"),
    "a base object by its full path": _published(("shards", 0, "key"), "/etc/passwd"),
    "a base object by a way about": _published(("shards", 0, "key"), "base/../../../etc/passwd"),
    "a base object with backslashes": _published(("shards", 0, "key"), "base\\..\\..\\etc\\passwd"),
    "a base object with a NUL": _published(("shards", 0, "key"), "base/00000/a\0b.arrow"),
    "a base object without name": _published(("shards", 0, "key"), ""),
    "a base object that is a record": _published(("shards", 0, "key"), "store.json"),
    "a base object of another shard": _published(("shards", 0, "shard"), 1),
    "a shard that there is not": _published(("shards", 2, "shard"), 7),
    "a shard of a million million": _published(("shards", 2, "shard"), 10**12),
    "a negative shard": _published(("shards", 0, "shard"), -1),
    "no shards": _published(("shards",), []),
    "a base object of 10^12 bytes": _published(("shards", 0, "size"), 10**12),
    "a table behind the end": _published(("shards", 0, "table"), 10**12),
    "a table elsewhere": _published(("shards", 0, "table"), 0),
    "a table of nothing": _published(("shards", 0, "table_sha256"), hashlib.sha256(b"").hexdigest()),
    "a hash that leads out": _published(("shards", 0, "sha256"), "../../etc/passwd"),
    "counts that are not": _published(("shards", 0, "accepted"), 3),
    "more maps than rows": _published(("shards", 0, "fallback"), 10**12),
    "a parent that is the version itself": _published(("parent",), 4),
    "a parent that is to come": _published(("parent",), 9),
    "another session": _published(("fence",), 7),
    "another name of the session": _published(("attempt",), "000001-0000000000000000"),
    "an epoch of 10^12": _published(("epoch",), 10**12),
    "consumed objects out of the store": _published(("consumed",), ["../../etc/passwd"]),
    "consumed objects that are records": _published(("consumed",), ["tags/kept.json"]),
    "a delta out of the store": _set(PENDING, ("pending", 0, "objects", 0, "key"), "../../../etc/passwd"),
    "a delta of another session": _set(PENDING, ("pending", 0, "attempt"), "another"),
    "a delta without parts": _set(PENDING, ("pending", 0, "objects", 0, "spans"), []),
    "a delta's part behind its end": _set(PENDING, ("pending", 0, "objects", 0, "spans", 0, "offset"), 10**12),
    "a delta's part of another shard": _set(PENDING, ("pending", 0, "objects", 0, "spans", 0, "shard"), 2),
    "a delta of 10^12 rows": _set(PENDING, ("pending", 0, "objects", 0, "rows"), 10**12),
    "a row of level 200": _base(with_a_level),
    "a row too few": _base(with_fewer_rows),
    "a buffer that claims 10^12 bytes": _base(claiming_much),
    "a base object that is a text": _base(lambda data, _: b"no Arrow".ljust(len(data))),
    "a base object of random bytes": _base(lambda data, rng: rng.bytes(len(data))),
    "an empty base object": _base(lambda _, __: b""),
    "a fence with another number": _move(FENCE, "fence/run/000007.json"),
    "a fence of another run": _move(FENCE, "fence/other/000001.json"),
    "a fence without number": _move(FENCE, "fence/run/newest.json"),
    "a newer fence": _raw("fence/run/999999.json", b"{}"),
    "a fence above what there is": _set(FENCE, ("floor",), 10**12),
    "a fence of a version to come": _set(FENCE, ("from_version",), 10**12),
    "a fence that skips what was done": _set(FENCE, ("floor",), 4),
    "a head of another run": _move(HEAD, "heads/other.json"),
    "a head of a newer session": _set(HEAD, ("fence",), 9),
    "a head of a version to come": _set(HEAD, ("version",), 10**12),
    "a head of version 0": _set(HEAD, ("version",), 0),
    "a stray file among the manifests": _raw("manifest/README", b"hello"),
    "a stray file among a run's manifests": _raw("manifest/run/notes.txt", b"hello"),
    "a renamed manifest": _move(NEWEST, "manifest/run/4.json"),
    "a manifest of another run": _move(NEWEST, "manifest/other/00000000000000000004.json"),
    "a manifest in the wrong place": _move(NEWEST, "manifest/00000000000000000004.json"),
    "a manifest twice": _raw("manifest/run/00000000000000000008.json", b"{}"),
    "a stray claim": _raw("version/latest", b"hello"),
    "a claim of the largest number": _raw("version/99999999999999999999.json", b"{}"),
    "a claim that none can follow": _move(DEAD_CLAIM, "version/00000999999999999999.json"),
    "a claim of another run": _set(CLAIM, ("run",), "other"),
    "a claim that leads out": _set(CLAIM, ("run",), "../../../etc"),
    "a lost claim": lambda objects, _: objects.__delitem__(CLAIM),
    "a renamed tag": _move(TAG, "tags/other.json"),
    "a tag of a version to come": _set(TAG, ("version",), 10**12),
    "a stray file among the tags": _raw("tags/list.txt", b"hello"),
    "a pin that is no record": _raw(PIN, b"hello"),
    "a stray pin": _move(PIN, "pins/mine"),
    "a notice of texts": _set(NOTICE, ("versions",), ["1"]),
}  # fmt: skip


def _write(change: Change, folder: Path, rng: np.random.Generator) -> None:
    objects = template()
    change(objects, rng)
    for key, data in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _on_disk(key: str, act: Callable[[Path], object]) -> Builder:
    """A good store in which something else than a file takes an object's place."""

    def build(folder: Path, rng: np.random.Generator) -> None:
        _write(CHANGES["good"], folder, rng)
        path = folder / key
        if path.is_file():
            path.rename(folder.parent / f"{folder.name}-outside-{path.name}")
        act(path)

    return build


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _link_back(path: Path) -> None:
    """To the very object, outside of the store."""
    root = next(parent for parent in path.parents if (parent / "version").is_dir())
    path.symlink_to(root.parent / f"{root.name}-outside-{path.name}")


def _link_folder(path: Path) -> None:
    outside = next(parent for parent in path.parents if (parent / "version").is_dir())
    target = outside.parent / f"{outside.name}-outside-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), 1 << 40)


ON_DISK: dict[str, Builder] = {
    "a definition that is a link": _on_disk("store.json", _link_back),
    "a definition that is a link to a text": _on_disk("store.json", _link),
    "a definition that is a pipe": _on_disk("store.json", os.mkfifo),
    "a definition that is a folder": _on_disk("store.json", Path.mkdir),
    "a definition of a TiB": _on_disk("store.json", _sparse),
    "a manifest that is a link": _on_disk(NEWEST, _link_back),
    "a manifest that is a pipe": _on_disk(NEWEST, os.mkfifo),
    "a manifest of a TiB": _on_disk(NEWEST, _sparse),
    "a fence that is a link": _on_disk(FENCE, _link_back),
    "a head that is a link": _on_disk(HEAD, _link),
    "manifests that lie elsewhere": _on_disk("manifest", _link_folder),
    "base objects that lie elsewhere": _on_disk("base", _link_folder),
}

STORES: dict[str, Builder] = {name: functools.partial(_write, change) for name, change in CHANGES.items()} | ON_DISK
"""Every store by name; all but the first are to be refused or named by `verify`."""
