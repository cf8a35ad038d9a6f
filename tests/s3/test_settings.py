"""One client of S3: a server that takes no checksums, and settings that stand only in a file of the AWS tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from attn.errors import RunError
from attn.files.locations import FileFault, list_files, read_bytes
from attn.files.s3 import CHECKSUMS, checksums, client
from attn.files.transfer import upload_file, write_bytes
from attn.health.root_checks import check_conditional_writes, probe_under
from attn.store import StoreError
from attn.store.backends import connect
from jobs.runs.checkpoints import ray_storage
from tests.conftest import S3_KEYS
from tests.s3.proxy import Proxy, proxy


@pytest.fixture
def refusing(s3_server: str, s3_endpoint: str) -> Iterator[Proxy]:
    """A server that answers requests with checksums by an error."""
    with proxy(s3_endpoint) as state:
        state.refuses_checksums = 501
        yield state


@pytest.fixture
def in_a_file(refusing: Proxy, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A bucket whose server and keys stand in `~/.aws` alone, and the file of its settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in CHECKSUMS:
        monkeypatch.setenv(name, "")  # so that what the code sets is put back
        monkeypatch.delenv(name)
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {refusing.endpoint}\n")
    keys = (f"{name.lower()} = {value}" for name, value in S3_KEYS.items())
    (folder / "credentials").write_text("\n".join(["[default]", *keys]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # MLflow's
    return s3_server, folder / "config"


def test_everything_that_writes_does(in_a_file: tuple[str, Path], refusing: Proxy, tmp_path: Path) -> None:
    bucket, _ = in_a_file
    write_bytes(f"{bucket}/a", b"data file")
    (tmp_path / "b").write_bytes(b"checkpoint")
    upload_file(tmp_path / "b", f"{bucket}/b")
    store = connect(f"{bucket}/store")
    assert store.create("c", b"map store")
    with probe_under(bucket) as (location, content):
        assert read_bytes(location).decode() == content
    assert [one.status for one in check_conditional_writes(f"{bucket}/runs")] == ["ok", "ok"]
    path, filesystem = ray_storage(f"{bucket}/runs/x")
    assert filesystem is not None
    with filesystem.open_output_stream(f"{path}/d") as stream:
        stream.write(b"Ray Train")
    assert read_bytes(f"{bucket}/runs/x/d") == b"Ray Train"
    assert list_files(bucket) == ["a", "b"]
    assert refusing.count("PUT", "") >= 5


def test_what_mlflow_writes(in_a_file: tuple[str, Path], tmp_path: Path) -> None:
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository, _cached_get_s3_client

    from attn.tracking.mlflow_client import connect as connect_mlflow

    bucket, _ = in_a_file
    _cached_get_s3_client.cache_clear()
    connect_mlflow("http://127.0.0.1:9")
    (tmp_path / "note.txt").write_text("artifact")
    S3ArtifactRepository(f"{bucket}/artifacts").log_artifact(str(tmp_path / "note.txt"))
    assert read_bytes(f"{bucket}/artifacts/note.txt") == b"artifact"


@pytest.mark.parametrize(("where", "status"), [("environment", 400), ("profile", 501)])
def test_a_refusal_points_to_the_setting(
    in_a_file: tuple[str, Path],
    refusing: Proxy,
    where: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket, file = in_a_file
    refusing.refuses_checksums = status
    if where == "environment":
        monkeypatch.setenv(CHECKSUMS[0], "when_supported")
    else:
        file.write_text(file.read_text() + "request_checksum_calculation = when_supported\n")
    assert checksums()[CHECKSUMS[0]] == "when_supported"
    text = f"{CHECKSUMS[0]} is when_supported: set it to when_required"
    with pytest.raises(RunError, match=text):
        write_bytes(f"{bucket}/a", b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(RunError, match=text):
        upload_file(tmp_path / "b", f"{bucket}/b")
    with pytest.raises(StoreError, match=text):
        connect(f"{bucket}/store").write("c", b"c")


def test_a_profile_is_taken_as_the_tools_of_amazon_take_it(
    in_a_file: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, file = in_a_file
    text = file.read_text()
    file.write_text(text.replace("[default]", "[profile other]").replace("us-east-1", "eu-south-2"))
    (file.parent / "credentials").write_text((file.parent / "credentials").read_text().replace("default", "other"))
    monkeypatch.setenv("AWS_PROFILE", "other")
    write_bytes(f"{bucket}/a", b"a")
    assert read_bytes(f"{bucket}/a") == b"a"
    assert client().meta.region_name == "eu-south-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert client().meta.region_name == "eu-west-1"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_PROFILE", "nobodys", r"nobodys.*AWS_PROFILE"),
        ("AWS_ENDPOINT_URL", "localhost:9000", r"must be http://host:port"),
        ("AWS_ENDPOINT_URL", "http://me:hunter2@[", r"must be http://host:port"),
        ("AWS_ACCESS_KEY_ID", "half", r"AWS_PROFILE and ~/.aws"),
    ],
)
def test_settings_that_are_wrong(
    in_a_file: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(FileFault, match=words) as caught:
        read_bytes("s3://bucket/key")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_parsed(in_a_file: tuple[str, Path]) -> None:
    bucket, file = in_a_file
    file.write_text("endpoint_url\n")
    with pytest.raises(FileFault, match="config"):
        read_bytes(f"{bucket}/a")
