"""Images that two data sets share: one file under two names, or two files with the same bytes.

Few bytes are read: only files of equal size are looked into, and first in their middle alone. Objects in a store are
told apart by their ETags, which a folder's listing has.
"""

from __future__ import annotations

__all__ = ["shared_images"]

import hashlib
import os
import stat
from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from attn.config.base import is_remote
from attn.data.content import look_up
from attn.data.source import Source, parallel

SAMPLE = 16 << 10
"""Bytes of a file's middle that are compared before all of it."""
STRETCH = 250
"""Files that one thread looks at in a go: a thread's task costs more than a look at a local file."""


class _File(NamedTuple):
    """What a look at a file tells.

    Attributes:
        identity: One for all names of a file.
        size: In bytes.
        tag: An object's ETag.
    """

    location: str
    identity: Hashable
    size: int
    tag: str | None = None


def shared_images(first: Source, second: Source) -> list[tuple[str, str]]:
    """The images of the second that the first has too, by their ids: (in the first, in the second).

    A file that cannot be looked at is passed over.

    Raises:
        FileFault: An object store does not answer.
    """
    ours = {record.image: record.image_id for record in first.records if record.image}
    theirs = {record.image: record.image_id for record in second.records if record.image}
    files = _look_at({*ours, *theirs})
    found = _partners(files, [file.identity for file in files], ours, theirs)
    rest = [file for file in files if file.location not in found]
    remote_sizes = {file.size for file in rest if file.tag is not None}
    rest = _on_both_sides(rest, [file.size for file in rest], ours, theirs)
    rest = _on_both_sides(rest, parallel(lambda file: _middle(file, remote_sizes), rest), ours, theirs)
    found |= _partners(rest, parallel(_content, rest), ours, theirs)
    names = {theirs[location]: ours[other] for location, other in found.items()}
    names |= {name: name for name in _same_without_files(first, second)}
    return [(names[record.image_id], record.image_id) for record in second.records if record.image_id in names]


def _partners(
    files: Sequence[_File], keys: Sequence[Hashable], ours: Collection[str], theirs: Collection[str]
) -> dict[str, str]:
    """For each of their files one of ours with the same key, by location."""
    first = {key: file.location for file, key in zip(files, keys, strict=True) if file.location in ours}
    both = [(file.location, key) for file, key in zip(files, keys, strict=True) if key in first]
    return {location: first[key] for location, key in both if location in theirs}


def _on_both_sides(
    files: Sequence[_File], keys: Sequence[Hashable], ours: Collection[str], theirs: Collection[str]
) -> list[_File]:
    """The files whose key one of ours and one of theirs has."""
    first = {key for file, key in zip(files, keys, strict=True) if file.location in ours}
    both = first & {key for file, key in zip(files, keys, strict=True) if file.location in theirs}
    return [file for file, key in zip(files, keys, strict=True) if key in both]


def _look_at(locations: Iterable[str]) -> list[_File]:
    locations = sorted(locations)
    objects = look_up(location for location in locations if is_remote(location))
    found = [_File(location, location, size, tag) for location, (tag, size) in objects.items()]
    local = [location for location in locations if not is_remote(location)]
    parts = [local[start : start + STRETCH] for start in range(0, len(local), STRETCH)]
    return [*found, *(file for part in parallel(_stat_all, parts) for file in part)]


def _stat_all(locations: Sequence[str]) -> list[_File]:
    return [file for location in locations if (file := _stat(location))]


def _stat(location: str) -> _File | None:
    try:
        status = os.stat(location)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):  # a pipe or device may have no end, or wait for a writer for ever
        return None
    return _File(location, (status.st_dev, status.st_ino), status.st_size)


def _middle(file: _File, remote_sizes: Collection[int]) -> Hashable:
    """The size and some bytes; of objects, and of files that must be compared with them, the size alone."""
    if file.size in remote_sizes:
        return file.size
    try:
        with Path(file.location).open("rb") as stream:
            stream.seek(max(0, (file.size - SAMPLE) // 2))
            return file.size, hashlib.md5(stream.read(SAMPLE), usedforsecurity=False).digest()
    except OSError:
        return file.identity


def _content(file: _File) -> Hashable:
    """MD5, which is the ETag of an object that was uploaded in one piece."""
    if file.tag is not None:
        return file.tag.strip('"')
    try:
        with Path(file.location).open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return file.identity


def _same_without_files(first: Source, second: Source) -> list[str]:
    """Of images that are no files, such as generated ones: those with one id whose pixels are the same."""
    ours = {record.image_id: index for index, record in enumerate(first.records) if record.image is None}
    return [
        record.image_id
        for index, record in enumerate(second.records)
        if record.image is None
        and record.image_id in ours
        and (
            first.load(ours[record.image_id], mask=False, saliency=False).image.tobytes()
            == second.load(index, mask=False, saliency=False).image.tobytes()
        )
    ]
