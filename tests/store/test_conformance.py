"""Every backend passes the conformance suite; bad ones do not."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import boto3
import pytest

from attn import store as maps
from attn.store.backends import Backend, Entry, LocalBackend, connect
from attn.store.backends.conformance import CHECKS, Check, check


@pytest.fixture(params=["local", "moto", pytest.param("radosgw", marks=pytest.mark.optional)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """An empty backend."""
    if request.param == "local":
        return connect(str(tmp_path / "store"))
    fixture = {"moto": "s3_server", "radosgw": "radosgw"}[request.param]
    return connect(f"{request.getfixturevalue(fixture)}/some/prefix")


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.__name__)
def test_backend_passes_the_conformance_suite(one: Check, backend: Backend) -> None:
    one(backend)


def test_the_test_server_checks_and_writes_atomically(s3_server: str) -> None:
    """With thread switches everywhere, also between checking a condition and the conditional write."""
    counts = next(one for one in CHECKS if one.__name__ == "counts_under_contention")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(4):
            counts(connect(f"{s3_server}/{number}"))
    finally:
        sys.setswitchinterval(interval)


class Overwriting(LocalBackend):
    """Like a server without conditional writes: accepts every write."""

    def create(self, key: str, data: bytes) -> bool:
        self.write(key, data)
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        self.write(key, data)
        return True


class Tearing(LocalBackend):
    """Like a file system without rename: partly written files are visible."""

    def write(self, key: str, data: bytes | memoryview) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(data[: len(data) // 2])
            stream.flush()
            time.sleep(0.02)
            stream.write(data[len(data) // 2 :])


class Forgetful(LocalBackend):
    """Like a cached listing: the last object is missing."""

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        return super().list(prefix, after)[:-1]


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (Overwriting, {"create_is_exclusive", "exactly_one_creates", "conditional_replace", "counts_under_contention"}),
        (Tearing, {"shows_only_whole_objects"}),
        (Forgetful, {"lists", "lists_thousands"}),
    ],
)
def test_the_suite_detects_a_bad_backend(kind: type[LocalBackend], failing: set[str], tmp_path: Path) -> None:
    places = iter(range(len(CHECKS)))
    with pytest.raises(AssertionError) as caught:
        check(lambda: kind(str(tmp_path / str(next(places)))))
    messages = {line.partition(":")[0] for line in str(caught.value).splitlines()[1:]}
    assert failing <= messages


class IgnoringTags(LocalBackend):
    """Like a server that supports If-None-Match but not If-Match."""

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        self.write(key, data)
        return True


@pytest.mark.parametrize("kind", [Overwriting, IgnoringTags])
def test_create_refuses_a_bad_backend(kind: type[LocalBackend], tmp_path: Path) -> None:
    with pytest.raises(maps.ConditionsIgnoredError, match="two writers could overwrite each other"):
        maps.create(kind(str(tmp_path)), rows=[("a", 0)], grid=(2, 2))
    assert not list(tmp_path.rglob("*.json"))


def test_a_real_server_that_ignores_conditional_writes_is_refused(radosgw: str) -> None:
    made_before = maps.create(f"{radosgw}/before", rows=[("a", 0)], grid=(2, 2))
    # Ceph 16 overwrites in a bucket with versions whatever If-None-Match says.
    versions = {"Status": "Enabled"}
    bucket = radosgw.removeprefix("s3://")
    boto3.Session().client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versions)
    with pytest.raises(maps.ConditionsIgnoredError, match=r"s3://.*/after: .*without bucket versioning"):
        maps.create(f"{radosgw}/after", rows=[("a", 0)], grid=(2, 2))
    with pytest.raises(maps.ConditionsIgnoredError, match=r"s3://.*/before: "):
        made_before.begin("run")


def test_stores_with_a_common_name_prefix_are_separate(radosgw: str) -> None:
    first, second = connect(f"{radosgw}/maps"), connect(f"{radosgw}/maps2")
    first.write("a/1", b"1")
    second.write("a/2", b"2")
    assert [entry.key for entry in first.list("")] == ["a/1"]
    assert [entry.key for entry in second.list("")] == ["a/2"]
