"""What the files of a data set hold, at the cost of a look at each: for work that is repeated when its data changed."""

from __future__ import annotations

__all__ = ["Part", "content", "look_up", "mark"]

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from attn.config.base import is_remote
from attn.data.sample import Record
from attn.data.source import Source, parallel
from attn.files.locations import FileFault, name_of, split
from attn.files.s3 import client, reason

Part = Literal["image", "mask", "saliency"]
SMALL = 64 << 10
"""Bytes up to which a file is read: most masks and saliency maps, few photographs."""
ABSENT = "-"


def content(source: Source, parts: Collection[Part]) -> str:
    """SHA-256 of the marks of a source's files by image, whatever their order and place.

    Args:
        parts: Which files of each image. With `mask` the boxes count too.
    """
    held = {record.image_id: _locations(record, parts) for record in source.records}
    marks = _marks({location for locations in held.values() for location in locations if location})
    lines = [
        "\t".join([record.image_id, *(marks[location] if location else ABSENT for location in held[record.image_id])])
        + (f"\t{record.boxes}" if "mask" in parts else "")
        for record in source.records
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def mark(location: str) -> str:
    """What changes with a file: its SHA-256 where it is small, else its size and the time of its last change.

    Of an object in a store it is the ETag. A file that is missing has a mark as well.
    """
    return _marks([location])[location]


def _locations(record: Record, parts: Collection[Part]) -> list[str | None]:
    found = {"image": record.image, "mask": record.mask, "saliency": record.saliency}
    return [found[part] for part in sorted(parts)]


def _marks(locations: Iterable[str]) -> dict[str, str]:
    """The mark of each location; of a part of a file (`file#part`) that of the file."""
    names = {location: (location, location.rpartition("#")[0]) for location in locations}
    files = sorted({name for both in names.values() for name in both if name})
    local = [name for name in files if not is_remote(name)]
    marks = dict(zip(local, parallel(_local, local), strict=True))
    remote = [name for name in files if is_remote(name)]
    marks |= dict.fromkeys(remote, ABSENT) | {name: tag for name, (tag, _) in look_up(remote).items()}
    return {
        location: marks[whole] if marks[whole] != ABSENT else marks.get(of, ABSENT)
        for location, (whole, of) in names.items()
    }


def _local(location: str) -> str:
    path = Path(location)
    try:
        found = path.stat()
        if found.st_size <= SMALL and path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ABSENT
    return f"{found.st_size} {found.st_mtime_ns}"


def look_up(locations: Iterable[str]) -> dict[str, tuple[str, int]]:
    """ETag and size of objects, as far as they are there: one request for a thousand of a folder, not one for each.

    Raises:
        FileFault: The object store does not answer or refuses.
    """
    folders: dict[str, set[str]] = {}
    for location in locations:
        folders.setdefault(location[: -len(name_of(location))], set()).add(location)
    return {location: found for folder, wanted in folders.items() for location, found in _in(folder, wanted).items()}


def _in(folder: str, wanted: set[str]) -> dict[str, tuple[str, int]]:
    bucket, prefix = split(folder)
    found: dict[str, tuple[str, int]] = {}
    try:
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for page in pages:
            for item in page.get("Contents", []):
                location = f"s3://{bucket}/{item['Key']}"
                if location in wanted:
                    found[location] = str(item["ETag"]), int(item["Size"])
    except Exception as error:
        raise FileFault(folder, reason(error)) from None
    return found
