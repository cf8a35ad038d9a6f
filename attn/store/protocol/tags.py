"""Tags: names for versions that must stay, such as the one from which a registered model was made."""

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
    """A name for a version, which `gc` then keeps."""

    __pydantic_config__ = STRICT

    name: Name
    run: Name
    version: Number
    manifest_sha256: Sha256
    nonce: Hex


def _key(name: str) -> str:
    return f"tags/{check_name('tag', name)}.json"


def write_tag(backend: Backend, name: str, manifest: Manifest) -> None:
    """Name a version.

    Raises:
        StoreError: The name stands for another version, or the version is 0.
    """
    if manifest.version == 0:
        raise StoreError(f"tag {name!r}: version 0 is the empty one, which every store has")
    tag = Tag(name, manifest.run, manifest.version, manifest.sha256, secrets.token_hex(16))
    if backend.create(_key(name), pack(dataclasses.asdict(tag))):
        return
    found = read_tags(backend).get(name)
    if found is None or found.version != manifest.version:
        other = f"version {found.version}" if found else "another version"
        raise StoreError(f"{backend.uri}: tag {name!r} stands for {other}; remove it first, or use another name")


def remove_tag(backend: Backend, name: str) -> None:
    """Take a name away; it is no fault if there is none."""
    backend.delete(_key(name))


def read_tags(backend: Backend) -> dict[str, Tag]:
    """All tags by name."""
    found: dict[str, Tag] = {}
    for tag in tags(backend):
        if isinstance(tag, DamagedError):
            raise tag
        found[tag.name] = tag
    return found


def tags(backend: Backend) -> Iterator[Tag | DamagedError]:
    """Every tag, or what is wrong with it."""
    for entry in backend.list("tags/"):
        if not (name := _KEY.fullmatch(entry.key)):
            continue
        with contextlib.suppress(MissingError):  # taken away since it was listed
            try:
                tag = read_record(backend, entry.key, Tag)
                if tag.name != name[1]:
                    raise DamagedError(f"{backend.uri}: {entry.key} is damaged: it is tag {tag.name}")
                yield tag
            except DamagedError as error:
                yield error
