"""The backend for a prefix of an S3 bucket, through boto3.

Requests are repeated while the object store is away (`attn.files.patience`). After a conditional write that may have
succeeded, its answer being lost, the object is read and compared.
"""

from __future__ import annotations

__all__ = ["S3Backend"]

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from attn.errors import StorageAwayError
from attn.files.patience import ObjectStoreError, call
from attn.store.backends.base import MAX_RECORD_BYTES, Entry, check_key, too_large
from attn.store.errors import MissingError, StoreAwayError, StoreError

T = TypeVar("T")

MAX_OBJECT_BYTES = 5 * 2**30
_CONDITION_STATUSES = (412, 416)


class _ConditionFailedError(Exception):
    """The condition of a write does not hold."""


@dataclass(frozen=True)
class S3Backend:
    """Objects are keys below `prefix`."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def path(self, key: str) -> Path | None:
        return None

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        if stop is not None and stop <= start:
            return b""

        def get(s3: Any, object_args: dict[str, str]) -> bytes:
            if start:
                span = f"bytes={start}-{'' if stop is None else stop - 1}"
                return s3.get_object(**object_args, Range=span)["Body"].read()
            # No range: the client verifies the checksum of a whole object if the server sends one.
            answer = s3.get_object(**object_args)
            if stop is None or answer["ContentLength"] <= stop:
                return answer["Body"].read()
            data = answer["Body"].read(stop)
            answer["Body"].close()
            return data

        try:
            return self._call("read", key, get)
        except _ConditionFailedError:
            return b""  # the range starts beyond the object's end

    def size(self, key: str) -> int | None:
        try:
            return int(self._call("read", key, lambda s3, object_args: s3.head_object(**object_args))["ContentLength"])
        except MissingError:
            return None

    def write(self, key: str, data: bytes | memoryview) -> None:
        self._put(key, bytes(data))

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, IfNoneMatch="*")
        except (_ConditionFailedError, MissingError):
            result = self.load(key)
            return result is not None and result[0] == data
        return True

    def load(self, key: str) -> tuple[bytes, str] | None:
        def get(s3: Any, object_args: dict[str, str]) -> tuple[bytes, str]:
            answer = s3.get_object(**object_args)
            if answer["ContentLength"] > MAX_RECORD_BYTES:
                answer["Body"].close()
                raise too_large(self.uri, key)
            return answer["Body"].read(), answer["ETag"].strip('"')

        try:
            return self._call("read", key, get)
        except MissingError:
            return None

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        for condition in (tag, f'"{tag}"'):  # some servers expect quotes, others none
            try:
                self._put(key, data, IfMatch=condition)
            except (_ConditionFailedError, MissingError):
                result = self.load(key)
                if result is None or result[1] != tag:
                    return result is not None and result[0] == data
            else:
                return True
        return False

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        results: list[Entry] = []
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": f"{self.prefix}/{prefix}"}
        if after:
            request["StartAfter"] = f"{self.prefix}/{after}"
        while True:
            page = self._call("listed", prefix, lambda s3, _: s3.list_objects_v2(**request))
            for item in page.get("Contents", []):
                key = item["Key"][len(self.prefix) + 1 :]
                results.append(Entry(key, item["Size"], item["LastModified"].timestamp()))
            if not page.get("IsTruncated"):
                return results
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        self._call("removed", key, lambda s3, object_args: s3.delete_object(**object_args))

    def leftovers(self) -> list[Entry]:
        return []

    def now(self) -> float:
        request = {"Bucket": self.bucket, "Prefix": f"{self.prefix}/", "MaxKeys": 1}
        answer = self._call("listed", "", lambda s3, _: s3.list_objects_v2(**request))
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        if len(data) > MAX_OBJECT_BYTES:
            raise StoreError(
                f"{self.uri}/{key} has {len(data)} bytes; an object has at most {MAX_OBJECT_BYTES}: seal more often"
            )
        self._call("written", key, lambda s3, object_args: s3.put_object(**object_args, Body=data, **condition))

    def _call(self, verb: str, key: str, request: Callable[[Any, dict[str, str]], T]) -> T:
        """Send a request; again while the object store is away."""
        if verb != "listed":
            check_key(self.uri, key)
        location, object_args = f"{self.uri}/{key}", {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}"}
        try:
            return call(f"{location} cannot be {verb}", lambda s3: request(s3, object_args))
        except StorageAwayError as error:
            raise StoreAwayError(str(error)) from None
        except ObjectStoreError as error:
            if error.is_missing:
                raise MissingError(f"{location}: no such object") from None
            if error.status in _CONDITION_STATUSES:
                raise _ConditionFailedError from None
            raise StoreError(f"{location} cannot be {verb}: {error}") from None
