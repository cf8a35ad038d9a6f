"""Storage backends of the map store: a local folder, or a prefix of an S3 bucket."""

from __future__ import annotations

__all__ = ["Backend", "Entry", "LocalBackend", "check_key", "connect"]

import os

from attn.config.base import local_path
from attn.store.backends.base import Backend, Entry, check_key
from attn.store.backends.local import LocalBackend
from attn.store.errors import StoreError


def connect(uri: str) -> Backend:
    """The backend of a URI: a path, `file://` and a path, or `s3://bucket/prefix`.

    Raises:
        StoreError: The URI is none of these.
    """
    if uri.startswith("s3://"):
        from attn.store.backends.s3 import S3Backend

        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket or not prefix.strip("/"):
            raise StoreError(f"{uri!r} is not a location of a store; use s3://bucket/prefix")
        return S3Backend(bucket, prefix.strip("/"))
    path = local_path(uri)
    if not path or "://" in path or "\0" in path:
        raise StoreError(f"{uri!r} is not a location of a store; use a folder or s3://bucket/prefix")
    return LocalBackend(os.path.abspath(path))
