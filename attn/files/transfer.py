"""Write files by location, and copy files to and from an object store."""

from __future__ import annotations

__all__ = [
    "download_file",
    "download_folder",
    "exists",
    "remove",
    "remove_folder",
    "size",
    "upload_file",
    "write_bytes",
    "write_in_pieces",
]

import contextlib
import hashlib
import io
import os
import re
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from attn import progress
from attn.config.base import is_remote
from attn.errors import RunError, WeightsError
from attn.files.locations import FileFault, join, list_below, list_files, split
from attn.files.patience import ObjectStoreError, call
from attn.files.roots import may_read
from attn.scratch import scratch_folder

SINGLE_PUT_LIMIT = 4 * 1024**3
ATTEMPTS_OF_A_PART = 5
"""Of a transfer in parts, of which the others need not be sent again."""
PATIENCE_SECONDS = 2.0
"""A transfer that takes longer is shown."""
MD5 = re.compile(r"[0-9a-f]{32}")


def write_bytes(location: str, data: bytes) -> None:
    """Write a file atomically: readers see the old or the new content, also after a crash.

    Raises:
        RunError: The file cannot be written.
        StorageAwayError: The object store does not answer.
    """
    if is_remote(location):
        bucket, key = split(location)
        try:
            call(location, lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=data))
        except ObjectStoreError as error:
            raise RunError(f"{location} cannot be written: {error}") from None
        return
    path = Path(location)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise RunError(f"{location} cannot be written: {error.strerror or type(error).__name__}") from None
    except ValueError as error:  # the path contains NUL
        raise RunError(f"{location!r} cannot be written: {error}") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def write_in_pieces(location: str) -> Generator[BinaryIO]:
    """A file to write in the body, of any size; readers see the old content until the body has ended without an error.

    Raises:
        RunError: The file cannot be written.
        StorageAwayError: The object store does not answer.
    """
    with contextlib.ExitStack() as stack:
        if is_remote(location):
            part = stack.enter_context(scratch_folder()) / "part"
        else:
            part = Path(location).with_name(f".{secrets.token_hex(8)}.part")
            stack.callback(lambda: part.unlink(missing_ok=True))
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if not is_remote(location):
                part.replace(location)
        except OSError as error:
            raise RunError(f"{location} cannot be written: {error.strerror or type(error).__name__}") from None
        if is_remote(location):
            upload_file(part, location)


def size(location: str) -> int | None:
    """Bytes of a file; None if it does not exist or this process may not read it.

    Raises:
        FileFault: The object store refuses.
        StorageAwayError: It does not answer.
    """
    if not may_read(location):
        return None
    if not is_remote(location):
        path = Path(location)
        return path.stat().st_size if path.is_file() else None
    bucket, key = split(location)
    try:
        return int(call(location, lambda s3: s3.head_object(Bucket=bucket, Key=key))["ContentLength"])
    except ObjectStoreError as error:
        if error.is_missing:
            return None
        raise FileFault(location, str(error)) from None


def exists(location: str) -> bool:
    """Return whether a file exists and this process may read it."""
    return size(location) is not None


class _ReportedFile(io.FileIO):
    """A file that reports how far it was read; a client that sends it again starts it again."""

    def __init__(self, path: Path, reported: progress.Task) -> None:
        super().__init__(path)
        self.reported = reported

    def read(self, size: int | None = -1, /) -> bytes | Any:
        data = super().read(-1 if size is None else size)
        self.reported.update(self.tell())
        return data


def remove(location: str) -> None:
    """Remove a file, if it is there.

    Raises:
        FileFault: The system or the object store refuses.
        StorageAwayError: The object store does not answer.
    """
    try:
        if is_remote(location):
            bucket, key = split(location)
            call(location, lambda s3: s3.delete_object(Bucket=bucket, Key=key))
        else:
            Path(location).unlink(missing_ok=True)
    except (ObjectStoreError, OSError) as error:
        raise FileFault(location, f"cannot be removed: {getattr(error, 'strerror', None) or error}") from None


def remove_folder(folder: str) -> None:
    """Remove a folder with its files, if it is there; hidden files of an object store stay.

    Raises:
        FileFault: The system or the object store refuses.
        StorageAwayError: The object store does not answer.
    """
    if is_remote(folder):
        for name in list_below(folder):
            remove(join(folder, name))
        return
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileFault(folder, f"cannot be removed: {error.strerror or error}") from None


def upload_file(path: Path, location: str) -> None:
    """Copy a file to an object store, and check the object's size and, if the ETag is one, its MD5.

    Raises:
        RunError: The object cannot be written, or differs from the file.
        StorageAwayError: The object store does not answer.
    """
    bucket, key = split(location)
    expected = path.stat().st_size

    def send(s3: Any) -> None:
        if expected <= SINGLE_PUT_LIMIT:
            with _ReportedFile(path, reported) as stream:
                s3.put_object(Bucket=bucket, Key=key, Body=stream)
        else:
            reported.update(0)
            s3.upload_file(str(path), bucket, key, Callback=reported.advance)

    try:
        with progress.task(f"upload {path.name}", expected, "bytes", patience=PATIENCE_SECONDS) as reported:
            call(location, send, attempts=ATTEMPTS_OF_A_PART)
        head = call(location, lambda s3: s3.head_object(Bucket=bucket, Key=key))
    except ObjectStoreError as error:
        raise RunError(f"{location} cannot be written: {error}") from None
    etag = str(head.get("ETag", "")).strip('"')
    whole = head["ContentLength"] == expected
    if whole and MD5.fullmatch(etag) and "ServerSideEncryption" not in head:
        with path.open("rb") as stream:
            whole = hashlib.file_digest(stream, "md5").hexdigest() == etag
    if not whole:
        raise RunError(f"{location} was not uploaded correctly: {head['ContentLength']} bytes of {expected}; try again")


def download_file(location: str, path: Path) -> None:
    """Copy an object to a local file.

    Raises:
        FileFault: The object does not exist, or the store refuses.
        StorageAwayError: The store does not answer.
    """
    bucket, key = split(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    total = size(location) if progress.is_shown() else None

    def fetch(s3: Any) -> None:
        reported.update(0)
        s3.download_file(bucket, key, str(path), Callback=reported.advance)

    try:
        with progress.task(f"download {path.name}", total, "bytes", patience=PATIENCE_SECONDS) as reported:
            call(location, fetch, attempts=ATTEMPTS_OF_A_PART)
    except ObjectStoreError as error:
        raise FileFault(location, str(error)) from None


def download_folder(uri: str, folder: Path) -> Path:
    """The files right below an `s3://` prefix, in a local folder.

    Raises:
        WeightsError: There are none.
    """
    names = list_files(uri)
    if not names:
        raise WeightsError(f"checkpoint {uri} is empty or gone; resume from an older one")
    for name in names:
        download_file(f"{uri}/{name}", folder / name)
    return folder
