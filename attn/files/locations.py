"""Read files and list folders by location: a local path or an `s3://bucket/key` URI."""

from __future__ import annotations

__all__ = [
    "FileFault",
    "missing_folder_note",
    "below",
    "beside",
    "join",
    "list_below",
    "list_files",
    "list_folders",
    "list_pages",
    "name_of",
    "missing_location",
    "read_bytes",
    "read_named",
    "parse_error_text",
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from attn.config.base import is_remote
from attn.errors import DataError
from attn.files.nearest import nearest_file
from attn.files.patience import ObjectStoreError, call
from attn.files.roots import may_read
from attn.regular_files import UnsuitableFileError, read_regular, too_large

MAX_PATH_LENGTH = 4096
"""Maximum characters of a relative path."""
MAX_BYTES = 4 << 30
"""Maximum size of a file that is read as a whole; COCO's annotations have half a gigabyte."""


class FileFault(DataError):
    """A file that cannot be used, with its `location` and a description of the `problem`."""

    def __init__(self, location: str, problem: str) -> None:
        self.location, self.problem = location, problem
        super().__init__(location, problem)

    def __str__(self) -> str:
        return f"{self.location}: {self.problem}"


def join(folder: str, *parts: str) -> str:
    """Join a folder and names to a location."""
    if not is_remote(folder):
        return os.path.join(folder, *parts)
    base = folder.removeprefix("s3://").rstrip("/")  # do not strip the slashes of the scheme
    return "/".join([f"s3://{base}", *parts])


def below(root: str, path: str) -> str:
    """Resolve a config's `BelowRoot` path against the data set's root."""
    if is_remote(path) or os.path.isabs(path):
        return path.rstrip("/")
    if not is_remote(root):
        return os.path.normpath(os.path.join(root, path))
    bucket, key = split(root)
    return f"s3://{bucket}/{posixpath.normpath(posixpath.join('/', key, path)).lstrip('/')}"


def beside(location: str, name: str) -> str:
    """The location of something in the folder that holds a file or folder.

    Args:
        location: It may be relative, also just a name: `maps` lies in the working directory.

    Raises:
        DataError: A bucket lies in no folder.
    """
    if not is_remote(location):
        return os.path.normpath(os.path.join(location, "..", name))
    bucket, key = split(location.rstrip("/"))
    if not key:
        raise DataError(f"{location} is a whole bucket, and nothing lies beside it; write s3://bucket/key")
    return join(f"s3://{bucket}", *key.split("/")[:-1], name)


def missing_location(field: str, path: str, location: str, what: str = "no such folder, or no file in it") -> FileFault:
    """The error for a config's `BelowRoot` path that does not exist.

    Args:
        field: The field's name.
        path: The path as given in the config.
        location: The resolved location.
        what: What is missing.
    """
    here = os.path.abspath(path)
    near = nearest_file(location)
    if here != location and os.path.exists(here):
        other = f"; there is {here}: give that full path"
    else:
        other = f"; did you mean {near}?" if near else ""
    return FileFault(location, f"{what}; {field}={path} names it, and a relative path starts from data.root{other}")


def name_of(location: str) -> str:
    """The last part of a location."""
    return posixpath.basename(location.rstrip("/"))


def stem_of(location: str) -> str:
    """The last part of a location without its extension."""
    return posixpath.splitext(name_of(location))[0]


def within(root: str, relative: str, where: str) -> str:
    """Join a root and a relative path from a list file. Backslashes count as slashes.

    Args:
        where: The list file and line, for the message.

    Raises:
        DataError: The path is absolute, leads out of the root, or is too long.
    """
    if len(relative) > MAX_PATH_LENGTH:
        raise DataError(
            f"{where}: {relative[:80]!r}... is a path of {len(relative)} characters, more than {MAX_PATH_LENGTH}"
        )
    if "://" in relative:
        raise DataError(f"{where}: expected a path relative to {root} or an s3:// URI, found another URI")
    if re.match(r"[A-Za-z]:[\\/]", relative):
        raise DataError(f"{where}: an absolute Windows path; give a path relative to {root}")
    clean = posixpath.normpath(relative.replace("\\", "/"))
    if clean.startswith(("/", "../")) or clean in ("..", ".") or "\0" in relative:
        raise DataError(f"{where}: a path that leads out of {root}; paths must stay inside it")
    return join(root, *clean.split("/"))


def read_bytes(location: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Args:
        max_bytes: Maximum size.

    Raises:
        FileFault: It is missing, not a file, too large, outside of the allowed folders, or unreadable.
        StorageAwayError: The object store does not answer.
    """
    require_allowed(location)
    if is_remote(location):
        return _read_object(location, max_bytes)
    try:
        return read_regular(location, max_bytes)
    except FileNotFoundError:
        raise FileFault(location, "no such file") from None
    except UnsuitableFileError as error:
        raise FileFault(location, str(error.strerror)) from None
    except OSError as error:
        raise FileFault(location, f"cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError as error:
        raise FileFault(location, f"cannot be a file's name ({error})") from None


def read_named(location: str, max_bytes: int = MAX_BYTES) -> bytes:
    """As `read_bytes`, of a file that a user names; one that is missing has the nearest named.

    Raises:
        FileFault, StorageAwayError: As `read_bytes`.
    """
    try:
        return read_bytes(location, max_bytes)
    except FileFault as fault:
        near = None if is_remote(location) or os.path.lexists(location) else nearest_file(location)
        raise FileFault(location, f"{fault.problem}; did you mean {near}?") if near else fault from None


def require_allowed(location: str) -> None:
    """Check that this process may read a location; see `attn.files.roots`.

    Raises:
        FileFault: The location is outside of the allowed folders.
    """
    if not may_read(location):
        raise FileFault(location, "is outside of the folders that the service may read: its root, and the folders of "
                        "`attn serve --data-root DIR`")  # fmt: skip


def parse_error_text(error: Exception) -> str:
    """Describe a parser's error without quoting the file.

    The parser's own message may contain parts of the file, and a person who sees the message may not be allowed to read
    the file.
    """
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start + 1} is not {error.encoding}"
        case ElementTree.ParseError():
            return f"at line {error.position[0]}, column {error.position[1] + 1}"
        case _:
            return type(error).__name__


def sha256_of(path: Path) -> str:
    """SHA-256 of a local file, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def list_files(folder: str) -> list[str]:
    """Sorted names of the files in a folder, without hidden ones; empty if there is no such folder."""
    return _listing(folder)[0]


def list_folders(folder: str) -> list[str]:
    """Sorted names of the folders in a folder, without hidden ones; empty if there is no such folder."""
    return _listing(folder)[1]


def list_below(folder: str) -> list[str]:
    """Sorted relative names of all files in a folder and its subfolders, without hidden ones."""
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


def missing_folder_note(location: str) -> str:
    """A note for the end of a message: " (there is no such folder)" if a local folder is missing, else empty."""
    if is_remote(location) or Path(location).exists():
        return ""
    near = nearest_file(location)
    return " (there is no such folder" + (f"; did you mean {near}?)" if near else ")")


def split(location: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise DataError(f"{location!r} has no bucket; write s3://bucket/key")
    return bucket, key


def _read_object(location: str, max_bytes: int) -> bytes:
    bucket, key = split(location)

    def read(s3: Any) -> bytes | None:
        answer = s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] <= max_bytes:
            return answer["Body"].read()
        answer["Body"].close()
        return None

    try:
        data = call(location, read)
    except ObjectStoreError as error:
        raise FileFault(location, str(error)) from None
    if data is None:
        raise FileFault(location, too_large(max_bytes))
    return data


def list_pages(folder: str) -> Iterator[dict[str, Any]]:
    """The answers of the object store that list what lies right below a prefix.

    Raises:
        FileFault: The store refuses.
        StorageAwayError: It does not answer.
    """
    bucket, key = split(folder)
    prefix = key.rstrip("/") + "/" if key.strip("/") else ""
    request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    while True:
        try:
            page = call(folder, lambda s3: s3.list_objects_v2(**request))
        except ObjectStoreError as error:
            raise FileFault(folder, str(error)) from None
        yield page
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _list_objects(folder: str) -> tuple[list[str], list[str]]:
    files: list[str] = []
    folders: list[str] = []
    for page in list_pages(folder):
        prefix = page.get("Prefix", "")
        files += [item["Key"][len(prefix) :] for item in page.get("Contents", []) if item["Key"] != prefix]
        folders += [item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])]
    return files, folders
