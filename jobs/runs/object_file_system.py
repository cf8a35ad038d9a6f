"""The object store as a file system for what Ray Train writes itself: the list of a run's checkpoints.

pyarrow's own file system of S3 gives up within two seconds, and its settings are lost on the way to another process.
"""

from __future__ import annotations

__all__ = ["is_object_files", "object_files"]

import io
from collections.abc import Iterator
from typing import Any

from fsspec.spec import AbstractFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

from attn.files.locations import read_bytes
from attn.files.patience import ObjectStoreError, call
from attn.files.transfer import size, write_bytes
from jobs.runs.cut_off import Since


def object_files() -> PyFileSystem:
    """The objects of all buckets by `bucket/key`; a file replaces the old one when it is closed, if it is whole."""
    return PyFileSystem(FSSpecHandler(_Objects()))


def is_object_files(filesystem: FileSystem | None) -> bool:
    """Return whether a file system is one of `object_files`, also in another process than it was made in."""
    return filesystem is not None and filesystem.type_name == f"py::fsspec+{_Objects.protocol}"


class _Objects(AbstractFileSystem):
    protocol = "attn-objects"
    cachable = False

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if (held := size(f"s3://{path}")) is not None:
            return {"name": path, "size": held, "type": "file"}
        if next(_objects(f"{path}/"), None) is not None:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        prefix = f"{path.rstrip('/')}/"
        entries: dict[str, dict[str, Any]] = {}
        for name, held in _objects(prefix):
            first, slash, _ = name.removeprefix(prefix).partition("/")
            if first:
                kind = "directory" if slash else "file"
                entries[first] = {"name": prefix + first, "size": 0 if slash else held, "type": kind}
        return list(entries.values()) if detail else [one["name"] for one in entries.values()]

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Nothing to do: a folder is there once it holds an object."""

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        below = [name for name, _ in _objects(f"{path}/")] if recursive else []
        for name in (*below, path):
            bucket, _, key = name.partition("/")
            _sent(name, lambda s3, at=(bucket, key): s3.delete_object(Bucket=at[0], Key=at[1]))

    def open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        return _Written(path) if mode == "wb" else io.BytesIO(read_bytes(f"s3://{path}"))


class _Written(io.BytesIO):
    """Content that `close` writes; nothing is written of a file that an error has cut off, or that nobody closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.opened = path, Since()

    def close(self) -> None:
        if not self.closed:
            try:
                if not self.opened.raised:
                    write_bytes(f"s3://{self.path}", self.getvalue())
            finally:
                super().close()

    def __del__(self) -> None:
        super().close()


def _objects(prefix: str) -> Iterator[tuple[str, int]]:
    """All objects whose path begins so, with their sizes."""
    bucket, _, key = prefix.partition("/")
    request = {"Bucket": bucket, "Prefix": key}
    while True:
        page = _sent(prefix, lambda s3: s3.list_objects_v2(**request))
        for item in page.get("Contents", []):
            yield f"{bucket}/{item['Key']}", int(item["Size"])
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _sent(path: str, request: Any) -> Any:
    try:
        return call(f"s3://{path}", request)
    except ObjectStoreError as error:
        raise OSError(f"s3://{path}: {error}") from None
