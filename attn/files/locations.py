"""Reading files and folders by location: a local path, or an `s3://bucket/key` URI."""

from __future__ import annotations

__all__ = [
    "FileFault",
    "absent_folder",
    "below",
    "join",
    "list_below",
    "list_files",
    "list_folders",
    "name_of",
    "not_there",
    "read_bytes",
    "reading_fault",
    "require_allowed",
    "sha256_of",
    "split",
    "stem_of",
    "within",
]

import hashlib
import os
import posixpath
import re
from pathlib import Path
from xml.etree import ElementTree

from attn.config.base import is_remote
from attn.errors import DataError
from attn.files.roots import may_read
from attn.files.s3 import client, reason
from attn.regular_files import Unfit, read_regular, too_large

LONGEST = 4096
"""Characters of a path."""
MAX_BYTES = 4 << 30
"""Of a file that is read as a whole: COCO's annotations have half a gigabyte."""


class FileFault(DataError):
    """A file that cannot be used. Attributes: `location`, and `problem` in words."""

    def __init__(self, location: str, problem: str) -> None:
        self.location, self.problem = location, problem
        super().__init__(location, problem)

    def __str__(self) -> str:
        return f"{self.location}: {self.problem}"


def join(folder: str, *parts: str) -> str:
    """A location below a folder."""
    if not is_remote(folder):
        return os.path.join(folder, *parts)
    place = folder.removeprefix("s3://").rstrip("/")  # the scheme keeps its slashes, or it would be a local folder
    return "/".join([f"s3://{place}", *parts])


def below(root: str, path: str) -> str:
    """Where a config's `BelowRoot` lies."""
    if is_remote(path) or os.path.isabs(path):
        return path.rstrip("/")
    if not is_remote(root):
        return os.path.normpath(os.path.join(root, path))
    bucket, key = split(root)
    return f"s3://{bucket}/{posixpath.normpath(posixpath.join('/', key, path)).lstrip('/')}"


def not_there(field: str, path: str, place: str, what: str = "no such folder, or no file in it") -> FileFault:
    """The fault of a config's `BelowRoot` that leads nowhere.

    Args:
        field: Its name in messages.
        path: As it was given.
        place: Where that is.
    """
    here = os.path.abspath(path)
    other = f"; there is {here}: give that full path" if here != place and os.path.exists(here) else ""
    return FileFault(place, f"{what}; {field}={path} names it, and a relative path starts from data.root{other}")


def name_of(location: str) -> str:
    """The last part of a location."""
    return posixpath.basename(location.rstrip("/"))


def stem_of(location: str) -> str:
    """The last part of a location without its extension."""
    return posixpath.splitext(name_of(location))[0]


def within(root: str, relative: str, where: str) -> str:
    """A location that a list file gives relative to its root; a backslash parts folders as a slash does.

    Args:
        where: The list file and line, for the message.

    Raises:
        DataError: It is absolute or leads out of the root.
    """
    if len(relative) > LONGEST:
        raise DataError(
            f"{where}: {relative[:80]!r}... is a path of {len(relative)} characters; at most {LONGEST} work"
        )
    if "://" in relative:
        raise DataError(f"{where}: a URI where a path relative to {root} is expected, or an s3:// URI")
    if re.match(r"[A-Za-z]:[\\/]", relative):
        raise DataError(f"{where}: an absolute path of Windows; give one relative to {root}")
    clean = posixpath.normpath(relative.replace("\\", "/"))
    if clean.startswith(("/", "../")) or clean in ("..", ".") or "\0" in relative:
        raise DataError(f"{where}: a path that leads out of {root}; names must lie inside it")
    return join(root, *clean.split("/"))


def read_bytes(location: str, most: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Args:
        most: Bytes that it may have.

    Raises:
        FileFault: It is missing, not a file, too large, not to be read by this process, or cannot be; says why.
    """
    require_allowed(location)
    if is_remote(location):
        return _read_json(location, most)
    try:
        return read_regular(location, most)
    except FileNotFoundError:
        raise FileFault(location, "no such file") from None
    except Unfit as error:
        raise FileFault(location, str(error.strerror)) from None
    except OSError as error:
        raise FileFault(location, f"cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError as error:
        raise FileFault(location, f"cannot be a file's name ({error})") from None


def require_allowed(location: str) -> None:
    """Refuse what lies where this process does not read.

    Raises:
        FileFault: It is limited to other folders.
    """
    if not may_read(location):
        raise FileFault(location, "lies in none of the folders that the service reads for its clients: its root, and "
                        "those that it was started with, by attn serve --data-root DIR")  # fmt: skip


def reading_fault(error: Exception) -> str:
    """What kept a parser from reading a file, in words of its own: a parser's message may quote what it read.

    A file that turns out to be none of its kind may be anybody's, and whoever sees the message need not be the one who
    may read the file.
    """
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start + 1} is not {error.encoding}"
        case ElementTree.ParseError():
            return f"at line {error.position[0]}, column {error.position[1] + 1}"
        case _:
            return type(error).__name__


def sha256_of(path: Path) -> str:
    """SHA-256 of a local file, which is not read as a whole."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def list_files(folder: str) -> list[str]:
    """Sorted names of the files in a folder, hidden ones left out; empty where there is no such folder."""
    return _listing(folder)[0]


def list_folders(folder: str) -> list[str]:
    """Sorted names of the folders in a folder, hidden ones left out; empty where there is no such folder."""
    return _listing(folder)[1]


def list_below(folder: str) -> list[str]:
    """Names of all files in a folder and in those below it, relative to it, in order; hidden ones are left out."""
    below = [f"{name}/{file}" for name in list_folders(folder) for file in list_below(join(folder, name))]
    return sorted([*list_files(folder), *below])


def _listing(folder: str) -> tuple[list[str], list[str]]:
    require_allowed(folder)
    if is_remote(folder):
        files, folders = _list_objects(folder)
    else:
        try:
            with os.scandir(folder) as entries:
                kinds = [(entry.name, entry.is_dir()) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as error:
            raise FileFault(folder, f"cannot be listed ({error.strerror or type(error).__name__})") from None
        except ValueError as error:
            raise FileFault(folder, f"cannot be a folder's name ({error})") from None
        files = [name for name, is_folder in kinds if not is_folder]
        folders = [name for name, is_folder in kinds if is_folder]
    return (
        sorted(name for name in files if not name.startswith(".")),
        sorted(name for name in folders if not name.startswith(".")),
    )


def absent_folder(location: str) -> str:
    """For the end of a message about what a location lacks: that it is not there at all; else nothing."""
    return "" if is_remote(location) or Path(location).exists() else " (there is no such folder)"


def split(location: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise DataError(f"{location!r} names no bucket; write s3://bucket/key")
    return bucket, key


def _read_json(location: str, most: int) -> bytes:
    bucket, key = split(location)
    try:
        found = client().get_object(Bucket=bucket, Key=key)
        if found["ContentLength"] <= most:
            return found["Body"].read()
        found["Body"].close()
    except Exception as error:
        raise FileFault(location, reason(error)) from None
    raise FileFault(location, too_large(most))


def _list_objects(folder: str) -> tuple[list[str], list[str]]:
    bucket, key = split(folder)
    prefix = key.rstrip("/") + "/" if key.strip("/") else ""
    files: list[str] = []
    folders: list[str] = []
    try:
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for page in pages:
            files += [item["Key"][len(prefix) :] for item in page.get("Contents", []) if item["Key"] != prefix]
            folders += [item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])]
    except Exception as error:
        raise FileFault(folder, reason(error)) from None
    return files, folders
