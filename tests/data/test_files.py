"""Locations on disk and in an object store."""

from __future__ import annotations

import pickle
from pathlib import Path

import boto3
import pytest

from attn.errors import DataError, StorageAwayError
from attn.files.locations import (
    FileFault,
    beside,
    join,
    list_below,
    list_files,
    list_folders,
    name_of,
    read_bytes,
    stem_of,
    within,
)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("maps", "growth"),
        ("./maps/", "growth"),
        ("runs/a/store", "runs/a/growth"),
        (".", "../growth"),
        ("..", "../../growth"),
        ("/maps", "/growth"),
        ("/data/maps", "/data/growth"),
        ("s3://bucket/maps", "s3://bucket/growth"),
        ("s3://bucket/runs/a/store/", "s3://bucket/runs/a/growth"),
    ],
)
def test_beside(location: str, expected: str) -> None:
    assert beside(location, "growth") == expected


def test_nothing_lies_beside_a_bucket() -> None:
    with pytest.raises(DataError, match=r"s3://bucket/ is a whole bucket"):
        beside("s3://bucket/", "growth")


def test_local_files(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "d").mkdir()
    assert list_files(str(tmp_path)) == ["a", "b"]
    assert list_folders(str(tmp_path)) == ["d"]
    (tmp_path / "d/e").mkdir()
    (tmp_path / "d/e/c").write_bytes(b"")
    assert list_below(str(tmp_path)) == ["a", "b", "d/e/c"]
    assert list_files(str(tmp_path / "none")) == []
    assert list_files(str(tmp_path / "a")) == []
    assert read_bytes(join(str(tmp_path), "b")) == b"two"
    with pytest.raises(FileFault, match="none: no such file"):
        read_bytes(str(tmp_path / "none"))
    with pytest.raises(FileFault, match="is a folder"):
        read_bytes(str(tmp_path / "d"))


def test_objects(s3_server: str) -> None:
    client = boto3.client("s3")
    for number in range(3):
        client.put_object(Bucket="attn-test", Key=f"x/deep/{number}", Body=b"%d" % number)
    client.put_object(Bucket="attn-test", Key="x/top", Body=b"top")
    client.close()
    root = join(s3_server, "x")
    assert list_files(root) == ["top"]
    assert list_files(root + "/") == ["top"]
    assert list_folders(root) == ["deep"]
    assert list_folders(s3_server) == ["x"]
    assert list_files(join(root, "deep")) == ["0", "1", "2"]
    assert list_files(join(root, "none")) == []
    assert read_bytes(join(root, "deep", "1")) == b"1"
    with pytest.raises(FileFault, match="attn-test/x/none: no such object"):
        read_bytes(join(root, "none"))
    with pytest.raises(FileFault, match="no such bucket"):
        read_bytes("s3://attn-other/x")
    with pytest.raises(FileFault, match="no such bucket"):
        list_files("s3://attn-other/x")
    with pytest.raises(DataError, match="has no bucket"):
        read_bytes("s3://")


def test_an_unreachable_store_says_so_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(StorageAwayError, match=r"cannot be reached.*; tried for \d") as caught:
        read_bytes("s3://bucket/key")
    assert "secret" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..", "", "a/..", "..\\x", "s3://other/x", "http://x/y", "a\0b"]
)
@pytest.mark.parametrize("root", ["/data/set", "s3://bucket/set"])
def test_names_must_not_lead_out_of_the_root(root: str, name: str) -> None:
    with pytest.raises(DataError, match=r"list\.txt:3"):
        within(root, name, "list.txt:3")


def test_names_inside() -> None:
    assert within("/data", "a/./b/../c.jpg", "w") == "/data/a/c.jpg"
    assert within("s3://b/data/", "a/c.jpg", "w") == "s3://b/data/a/c.jpg"
    assert (name_of("s3://b/x/y.tar.gz"), stem_of("/x/y.z.jpg")) == ("y.tar.gz", "y.z")


def test_a_fault_survives_pickling() -> None:
    fault = pickle.loads(pickle.dumps(FileFault("/x.jpg", "is damaged")))
    assert str(fault) == "/x.jpg: is damaged"
    assert isinstance(fault, DataError)
