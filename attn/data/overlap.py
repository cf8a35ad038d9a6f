"""Finds images that two data sets share: one file under two names, or two files with equal content.

Few bytes are read: only files of equal size are compared, first by a sample from their middle. Objects in an object
store are compared by the ETags in a folder's listing.
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
from attn.data.source import Source, map_in_threads

SAMPLE = 16 << 10
"""Bytes from a file's middle that are compared before the whole file."""
FILES_PER_TASK = 250
"""Files per thread task; starting a task takes longer than one local `stat`."""


class _File(NamedTuple):
    """Metadata of a file.

    Attributes:
        identity: Equal for all names of one file.
        size: Size in bytes.
        tag: ETag of an object.
    """

    location: str
    identity: Hashable
    size: int
    tag: str | None = None


def shared_images(first: Source, second: Source) -> list[tuple[str, str]]:
    """Images that both sources have, as ids (in the first, in the second).

    Unreadable files are ignored.

    Raises:
        FileFault: An object store cannot be reached or refuses.
    """
    first_names = {record.image: record.image_id for record in first.records if record.image}
    second_names = {record.image: record.image_id for record in second.records if record.image}
    files = _stat_files({*first_names, *second_names})
    result = _matches(files, [file.identity for file in files], first_names, second_names)
    rest = [file for file in files if file.location not in result]
    remote_sizes = {file.size for file in rest if file.tag is not None}
    rest = _on_both_sides(rest, [file.size for file in rest], first_names, second_names)
    rest = _on_both_sides(
        rest, map_in_threads(lambda file: _middle(file, remote_sizes), rest), first_names, second_names
    )
    result |= _matches(rest, map_in_threads(_content, rest), first_names, second_names)
    names = {second_names[location]: first_names[other] for location, other in result.items()}
    names |= {name: name for name in _same_without_files(first, second)}
    return [(names[record.image_id], record.image_id) for record in second.records if record.image_id in names]


def _matches(
    files: Sequence[_File], keys: Sequence[Hashable], first_names: Collection[str], second_names: Collection[str]
) -> dict[str, str]:
    """For each file of the second source, a file of the first with the same key, by location."""
    first = {key: file.location for file, key in zip(files, keys, strict=True) if file.location in first_names}
    both = [(file.location, key) for file, key in zip(files, keys, strict=True) if key in first]
    return {location: first[key] for location, key in both if location in second_names}


def _on_both_sides(
    files: Sequence[_File], keys: Sequence[Hashable], first_names: Collection[str], second_names: Collection[str]
) -> list[_File]:
    """Files with a key that occurs in both sources."""
    first = {key for file, key in zip(files, keys, strict=True) if file.location in first_names}
    both = first & {key for file, key in zip(files, keys, strict=True) if file.location in second_names}
    return [file for file, key in zip(files, keys, strict=True) if key in both]


def _stat_files(locations: Iterable[str]) -> list[_File]:
    locations = sorted(locations)
    objects = look_up(location for location in locations if is_remote(location))
    results = [_File(location, location, size, tag) for location, (tag, size) in objects.items()]
    local = [location for location in locations if not is_remote(location)]
    parts = [local[start : start + FILES_PER_TASK] for start in range(0, len(local), FILES_PER_TASK)]
    return [*results, *(file for part in map_in_threads(_stat_all, parts) for file in part)]


def _stat_all(locations: Sequence[str]) -> list[_File]:
    return [file for location in locations if (file := _stat(location))]


def _stat(location: str) -> _File | None:
    try:
        status = os.stat(location)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or device may never end
        return None
    return _File(location, (status.st_dev, status.st_ino), status.st_size)


def _middle(file: _File, remote_sizes: Collection[int]) -> Hashable:
    """Size and a hash of the sample; for objects, and files of the same size as an object, only the size."""
    if file.size in remote_sizes:
        return file.size
    try:
        with Path(file.location).open("rb") as stream:
            stream.seek(max(0, (file.size - SAMPLE) // 2))
            return file.size, hashlib.md5(stream.read(SAMPLE), usedforsecurity=False).digest()
    except OSError:
        return file.identity


def _content(file: _File) -> Hashable:
    """MD5 of a file, or the ETag of an object, which is its MD5 unless it was a multipart upload."""
    if file.tag is not None:
        return file.tag.strip('"')
    try:
        with Path(file.location).open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return file.identity


def _same_without_files(first: Source, second: Source) -> list[str]:
    """Ids of images that are not files, such as generated ones, with equal pixels in both sources."""
    first_indices = {record.image_id: index for index, record in enumerate(first.records) if record.image is None}
    return [
        record.image_id
        for index, record in enumerate(second.records)
        if record.image is None
        and record.image_id in first_indices
        and (
            first.load(first_indices[record.image_id], mask=False, saliency=False).image.tobytes()
            == second.load(index, mask=False, saliency=False).image.tobytes()
        )
    ]
