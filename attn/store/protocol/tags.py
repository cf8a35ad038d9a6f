"""Tags: names for versions that the garbage collector keeps, such as the version behind a registered model."""

from __future__ import annotations

__all__ = ["Tag", "read_tags", "remove_tag", "tags", "write_tag"]

import contextlib
import dataclasses
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from attn.store.backends import Backend
from attn.store.errors import DamagedError, MissingError, StoreError
from attn.store.format.definition import check_name
from attn.store.format.manifest import Manifest
from attn.store.format.records import NAME, STRICT, Hex, Name, Number, Sha256, pack, read_record

_KEY = re.compile(rf"tags/({NAME})[.]json")


@dataclass(frozen=True)
class Tag:
    """A name for a version; `gc` keeps tagged versions."""

    __pydantic_config__ = STRICT

    name: Name
    run: Name
    version: Number
    manifest_sha256: Sha256
    nonce: Hex


def _key(name: str) -> str:
    return f"tags/{check_name('tag', name)}.json"


def write_tag(backend: Backend, name: str, manifest: Manifest) -> None:
    """Tag a version.

    Raises:
        StoreError: The tag names another version, or the version is 0.
    """
    if manifest.version == 0:
        raise StoreError(f"tag {name!r}: version 0 is the empty version of every store and cannot be tagged")
    tag = Tag(name, manifest.run, manifest.version, manifest.sha256, secrets.token_hex(16))
    if backend.create(_key(name), pack(dataclasses.asdict(tag))):
        return
    result = read_tags(backend).get(name)
    if result is None or result.version != manifest.version:
        other = f"version {result.version}" if result else "another version"
        raise StoreError(f"{backend.uri}: tag {name!r} names {other}; remove it first, or use another name")


def remove_tag(backend: Backend, name: str) -> None:
    """Remove a tag, if it exists."""
    backend.delete(_key(name))


def read_tags(backend: Backend) -> dict[str, Tag]:
    """All tags by name."""
    results: dict[str, Tag] = {}
    for tag in tags(backend):
        if isinstance(tag, DamagedError):
            raise tag
        results[tag.name] = tag
    return results


def tags(backend: Backend) -> Iterator[Tag | DamagedError]:
    """Every tag; a damaged one as its error."""
    for entry in backend.list("tags/"):
        if not (name := _KEY.fullmatch(entry.key)):
            continue
        with contextlib.suppress(MissingError):  # removed since it was listed
            try:
                tag = read_record(backend, entry.key, Tag)
                if tag.name != name[1]:
                    raise DamagedError(f"{backend.uri}: {entry.key} is damaged: it is tag {tag.name}")
                yield tag
            except DamagedError as error:
                yield error
