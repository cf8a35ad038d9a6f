"""A cheap hash of a data set's files, to detect that data changed and results must be computed again."""

from __future__ import annotations

__all__ = ["Part", "content", "look_up", "file_mark"]

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from attn.config.base import is_remote
from attn.data.sample import Record
from attn.data.source import Source, map_in_threads
from attn.files.locations import list_pages, name_of, split

Part = Literal["image", "mask", "saliency"]
MAX_HASHED_BYTES = 64 << 10
"""Files up to this size are read and hashed: most masks and saliency maps, few photographs."""
ABSENT = "-"


def content(source: Source, parts: Collection[Part]) -> str:
    """SHA-256 over the marks (see `file_mark`) of a source's files, independent of their order and location.

    Args:
        parts: Which files of each image to include; `mask` includes the boxes.
    """
    held = {record.image_id: _locations(record, parts) for record in source.records}
    marks = _file_marks({location for locations in held.values() for location in locations if location})
    lines = [
        "\t".join([record.image_id, *(marks[location] if location else ABSENT for location in held[record.image_id])])
        + (f"\t{record.boxes}" if "mask" in parts else "")
        for record in source.records
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def file_mark(location: str) -> str:
    """A text that changes when a file changes.

    It is the SHA-256 of a small file, the size and modification time of a larger one, and the ETag of an object in an
    object store. A missing file has a mark, too.
    """
    return _file_marks([location])[location]


def _locations(record: Record, parts: Collection[Part]) -> list[str | None]:
    results = {"image": record.image, "mask": record.mask, "saliency": record.saliency}
    return [results[part] for part in sorted(parts)]


def _file_marks(locations: Iterable[str]) -> dict[str, str]:
    """The mark of each location; for a part of a file (`file#part`), that of the file."""
    names = {location: (location, location.rpartition("#")[0]) for location in locations}
    files = sorted({name for both in names.values() for name in both if name})
    local = [name for name in files if not is_remote(name)]
    marks = dict(zip(local, map_in_threads(_local_mark, local), strict=True))
    remote = [name for name in files if is_remote(name)]
    marks |= dict.fromkeys(remote, ABSENT) | {name: tag for name, (tag, _) in look_up(remote).items()}
    return {
        location: marks[whole] if marks[whole] != ABSENT else marks.get(of, ABSENT)
        for location, (whole, of) in names.items()
    }


def _local_mark(location: str) -> str:
    path = Path(location)
    try:
        result = path.stat()
        if result.st_size <= MAX_HASHED_BYTES and path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ABSENT
    return f"{result.st_size} {result.st_mtime_ns}"


def look_up(locations: Iterable[str]) -> dict[str, tuple[str, int]]:
    """ETag and size of those objects that exist, with one listing request per thousand objects of a folder.

    Raises:
        FileFault: The object store refuses.
        StorageAwayError: It does not answer.
    """
    folders: dict[str, set[str]] = {}
    for location in locations:
        folders.setdefault(location[: -len(name_of(location))], set()).add(location)
    return {
        location: item for folder, wanted in folders.items() for location, item in _list_folder(folder, wanted).items()
    }


def _list_folder(folder: str, wanted: set[str]) -> dict[str, tuple[str, int]]:
    bucket, _ = split(folder)
    results: dict[str, tuple[str, int]] = {}
    for page in list_pages(folder):
        for item in page.get("Contents", []):
            location = f"s3://{bucket}/{item['Key']}"
            if location in wanted:
                results[location] = str(item["ETag"]), int(item["Size"])
    return results
