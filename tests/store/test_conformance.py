"""Every place that a store can lie in passes the suite that ships with the store; a bad one does not."""

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
    """An empty place."""
    if request.param == "local":
        return connect(str(tmp_path / "store"))
    fixture = {"moto": "s3_server", "radosgw": "radosgw"}[request.param]
    return connect(f"{request.getfixturevalue(fixture)}/some/prefix")


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.__name__)
def test_conforms(one: Check, backend: Backend) -> None:
    one(backend)


def test_the_tests_server_looks_and_writes_as_one(s3_server: str) -> None:
    """A thread that is interrupted everywhere, between a condition and the write that it is for as well."""
    counts = next(one for one in CHECKS if one.__name__ == "counts_under_contention")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(4):
            counts(connect(f"{s3_server}/{number}"))
    finally:
        sys.setswitchinterval(interval)


class Overwriting(LocalBackend):
    """As a server that knows no conditional writes: it takes whatever comes."""

    def create(self, key: str, data: bytes) -> bool:
        self.write(key, data)
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        self.write(key, data)
        return True


class Tearing(LocalBackend):
    """As a file system without rename: what is being written can be seen."""

    def write(self, key: str, data: bytes | memoryview) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(data[: len(data) // 2])
            stream.flush()
            time.sleep(0.02)
            stream.write(data[len(data) // 2 :])


class Forgetful(LocalBackend):
    """As a cached listing: the last object is not in it yet."""

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
def test_tells_a_bad_place(kind: type[LocalBackend], failing: set[str], tmp_path: Path) -> None:
    places = iter(range(len(CHECKS)))
    with pytest.raises(AssertionError) as caught:
        check(lambda: kind(str(tmp_path / str(next(places)))))
    told = {line.partition(":")[0] for line in str(caught.value).splitlines()[1:]}
    assert failing <= told


class IgnoringTags(LocalBackend):
    """As a server that knows If-None-Match and not If-Match."""

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        self.write(key, data)
        return True


@pytest.mark.parametrize("kind", [Overwriting, IgnoringTags])
def test_a_store_is_not_made_in_a_bad_place(kind: type[LocalBackend], tmp_path: Path) -> None:
    with pytest.raises(maps.ConditionsIgnoredError, match="two writers could overwrite each other"):
        maps.create(kind(str(tmp_path)), rows=[("a", 0)], grid=(2, 2))
    assert not list(tmp_path.rglob("*.json"))


def test_a_real_server_that_ignores_conditions_is_refused(radosgw: str) -> None:
    made_before = maps.create(f"{radosgw}/before", rows=[("a", 0)], grid=(2, 2))
    # Ceph 16 overwrites in a bucket with versions whatever If-None-Match says.
    versions = {"Status": "Enabled"}
    bucket = radosgw.removeprefix("s3://")
    boto3.Session().client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versions)
    with pytest.raises(maps.ConditionsIgnoredError, match=r"s3://.*/after: .*without bucket versioning"):
        maps.create(f"{radosgw}/after", rows=[("a", 0)], grid=(2, 2))
    with pytest.raises(maps.ConditionsIgnoredError, match=r"s3://.*/before: "):
        made_before.begin("run")


def test_stores_of_like_names_do_not_see_each_other(radosgw: str) -> None:
    first, second = connect(f"{radosgw}/maps"), connect(f"{radosgw}/maps2")
    first.write("a/1", b"1")
    second.write("a/2", b"2")
    assert [entry.key for entry in first.list("")] == ["a/1"]
    assert [entry.key for entry in second.list("")] == ["a/2"]
