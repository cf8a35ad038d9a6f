"""The bad network does to a real client what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    ResponseStreamingError,
)

from tests.s3.proxy import Action, Fault, Proxy, proxy
from tests.s3.radosgw import Radosgw


@pytest.fixture(params=["moto", pytest.param("radosgw", marks=pytest.mark.optional)])
def behind(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, Any, str]]:
    """A proxy, a client of it that does not retry, and a bucket."""
    if request.param == "moto":
        uri, endpoint = request.getfixturevalue("s3_server"), request.getfixturevalue("s3_endpoint")
    else:
        uri, node = request.getfixturevalue("radosgw"), request.getfixturevalue("radosgw_node")
        assert isinstance(node, Radosgw)
        endpoint = node.endpoint
    with proxy(endpoint) as state:
        once = Config(retries={"total_max_attempts": 1})
        client = boto3.Session().client("s3", endpoint_url=state.endpoint, config=once)
        yield state, client, uri.removeprefix("s3://")
        client.close()


def test_passes_everything_on(behind: tuple[Proxy, Any, str]) -> None:
    state, client, bucket = behind
    client.put_object(Bucket=bucket, Key="a b/ü", Body=bytes(range(256)) * 4096, IfNoneMatch="*")
    assert client.get_object(Bucket=bucket, Key="a b/ü", Range="bytes=256-511")["Body"].read() == bytes(range(256))
    assert client.head_object(Bucket=bucket, Key="a b/ü")["ContentLength"] == 2**20
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b/ü"]
    client.delete_object(Bucket=bucket, Key="a b/ü")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert state.count("PUT", "a%20b") == 1


@pytest.mark.parametrize(
    ("action", "error", "there"),
    [
        (Action.REFUSE, ClientError, False),
        (Action.DENY, ClientError, True),
        (Action.LOSE, ConnectionClosedError, True),
    ],
)
def test_writes_go_wrong(
    behind: tuple[Proxy, Any, str], action: Action, error: type[Exception], *, there: bool
) -> None:
    state, client, bucket = behind
    state.faults.append(Fault("PUT", "/k$", action, code="Odd"))
    with pytest.raises(error) as caught:
        client.put_object(Bucket=bucket, Key="k", Body=b"1")
    if isinstance(caught.value, ClientError):
        assert caught.value.response["Error"]["Code"] == "Odd"
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == int(there)
    client.put_object(Bucket=bucket, Key="k", Body=b"2")


def test_reads_go_wrong(behind: tuple[Proxy, Any, str]) -> None:
    state, client, bucket = behind
    body = b"0" * 1001
    client.put_object(Bucket=bucket, Key="k", Body=body)
    state.faults.append(Fault("GET", "/k", Action.CUT))
    with pytest.raises((ResponseStreamingError, BotoCoreError)):
        client.get_object(Bucket=bucket, Key="k")["Body"].read()
    state.faults.append(Fault("GET", "/k", Action.FLIP))
    # A part has no checksum of the server's: the client cannot see it.
    got = client.get_object(Bucket=bucket, Key="k", Range="bytes=0-999")["Body"].read()
    assert got == b"0" * 500 + b"1" + b"0" * 499


def test_the_client_sees_a_flip_only_by_a_checksum(behind: tuple[Proxy, Any, str]) -> None:
    state, client, bucket = behind
    body = b"0" * 1001
    client.put_object(Bucket=bucket, Key="k", Body=body)
    state.checksums = True
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    state.faults.append(Fault("GET", "/k", Action.FLIP))
    with pytest.raises(FlexibleChecksumError):
        client.get_object(Bucket=bucket, Key="k")["Body"].read()
    state.checksums = False
    state.faults.append(Fault("GET", "/k", Action.FLIP))
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0" * 500 + b"1" + b"0" * 500
