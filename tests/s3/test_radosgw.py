"""The project's own S3 server: that it is a real one, and gone when it should be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from tests.s3 import radosgw as ceph


@pytest.fixture
def bucket(radosgw: str) -> str:
    return radosgw.removeprefix("s3://")


def status(call: Any, **arguments: object) -> int:
    """The HTTP status of a request, answered well or not."""
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_one_of_many_creates(bucket: str) -> None:
    client = boto3.Session().client("s3")

    def create(body: bytes) -> int:
        return status(client.put_object, Bucket=bucket, Key="k", Body=body, IfNoneMatch="*")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, [bytes([value]) for value in range(16)]))
    assert sorted(set(answers)) == [200, 412]
    assert answers.count(200) == 1
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == bytes([answers.index(200)])


def test_keys_are_checked(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert status(boto3.Session().client("s3").list_objects_v2, Bucket=bucket) == 403


@pytest.mark.usefixtures("ceph_installed")
def test_dies_with_a_killed_session(tmp_path: Path) -> None:
    command, location = [sys.executable, "-m", "tests.s3.radosgw"], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=location) as session:
        assert session.stdout is not None
        assert session.stdout.readline().startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
        daemons = psutil.Process(session.pid).children()
        assert {daemon.name() for daemon in daemons} == {"ceph-mon", "ceph-osd", "radosgw"}
        session.kill()
    deadline = time.monotonic() + 30
    while any(daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE for daemon in daemons):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert ceph.missing() == (
        "not installed: setpriv, monmaptool, ceph, ceph-mon, ceph-osd, radosgw, radosgw-admin "
        "(.ci/install-radosgw installs them on Debian)"
    )
