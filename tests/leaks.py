"""Searching what a program left for secrets that nothing may hold."""

from __future__ import annotations

__all__ = ["in_bucket", "leaks", "session_logs", "under"]

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import boto3


def leaks(hidden: Mapping[str, str], contents: Iterable[tuple[str, bytes]]) -> list[str]:
    """Which secret stands where.

    Args:
        hidden: Secrets by what they are called.
        contents: Names of places with all that stands there.
    """
    return [
        f"{name} stands in {location}"
        for location, content in contents
        for name, text in hidden.items()
        if text.encode() in content
    ]


def under(*folders: Path, exclude: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """All files below folders, without links; those below `exclude` are left out."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and (exclude is None or not path.is_relative_to(exclude)):
                yield str(path), path.read_bytes()


def in_bucket(uri: str) -> Iterator[tuple[str, bytes]]:
    """All objects of a bucket, each with its metadata, of the server that the environment names."""
    bucket = uri.removeprefix("s3://")
    with contextlib.closing(boto3.Session().client("s3")) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                result = client.get_object(Bucket=bucket, Key=item["Key"])
                yield f"s3://{bucket}/{item['Key']}", result["Body"].read() + str(result["Metadata"]).encode()


def session_logs() -> Path:
    """Where the Ray session that is up writes its logs."""
    import ray  # not before a session is up: it reads at its import how clients show their token

    folder = Path(tempfile.gettempdir(), "ray", ray.get_runtime_context().get_session_name(), "logs")
    assert list(folder.glob("*.log")), f"no logs in {folder}"
    return folder
