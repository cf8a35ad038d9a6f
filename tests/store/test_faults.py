"""Network faults between a store and its server: the result is a correct store or one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from attn import store as maps
from attn.files import patience
from tests.s3.proxy import Action, Fault, Proxy, proxy
from tests.store.small import COUNT, GRID, ROWS, new_store, one_epoch, values, whole_run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run without faults."""
    store = whole_run(str(tmp_path_factory.mktemp("calm") / "store"))
    expected = np.maximum(values(0), values(1))
    assert np.array_equal(store.at().rows(0, COUNT)[1], expected)
    return store.at().digest()


@pytest.fixture(scope="module")
def bad_network(request: pytest.FixtureRequest, ceph_missing: str | None) -> Iterator[Proxy]:
    """A faulty proxy in front of an S3 server; a real server if one is installed."""
    if ceph_missing:
        endpoint = request.getfixturevalue("s3_endpoint")
    else:
        endpoint = request.getfixturevalue("radosgw_node").endpoint
    with proxy(endpoint) as state:
        yield state


@pytest.fixture
def network(
    request: pytest.FixtureRequest, bad_network: Proxy, ceph_missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Proxy, str]:
    """A proxy without faults yet, and the location of a store behind it."""
    bucket = request.getfixturevalue("s3_server" if ceph_missing else "radosgw")
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.001)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, bad_network.endpoint)
    bad_network.faults.clear()
    bad_network.seen.clear()
    bad_network.checksums = None
    return bad_network, f"{bucket}/maps"


WRITTEN = ("store.json", "index/", "fence/", "heads/", "delta/", "base/", "version/", "manifest/", "probe/")


@pytest.mark.parametrize("action", [Action.LOSE, Action.DENY], ids=["no answer", "an error for an answer"])
def test_a_lost_response_to_a_write(network: tuple[Proxy, str], action: Action, undisturbed: str) -> None:
    state, uri = network
    # Each kind of object, several times over: a repeated request meets what the lost one did.
    state.faults += [Fault("PUT", f"/maps/{kind}", action, times=3, status=500) for kind in WRITTEN]
    store = whole_run(uri)
    assert not any(fault.times for fault in state.faults)
    assert store.at().digest() == undisturbed
    assert store.verify().ok
    # Nothing was done twice: two epochs of two checkpoints.
    assert [manifest.version for manifest, _ in store.history()] == [1, 2, 3, 4]
    assert state.count("PUT", "/maps/manifest/") == 7


STORMS = ((409, "ConditionalRequestConflict"), (503, "SlowDown"), (500, "InternalError"))


def test_a_transient_outage_is_survived(network: tuple[Proxy, str], undisturbed: str) -> None:
    state, uri = network
    for status, code in STORMS:
        state.faults += [Fault("PUT", f"/maps/{kind}", Action.REFUSE, 2, status, code) for kind in WRITTEN]
        if status != 409:
            state.faults += [Fault("GET", where, Action.REFUSE, 2, status, code) for where in ("/maps/", "list-type")]
    store = whole_run(uri)
    assert not any(fault.times for fault in state.faults)
    assert store.at().digest() == undisturbed
    assert store.verify().ok


@pytest.mark.parametrize(
    ("kind", "storm"),
    [("delta/", 1), ("base/", 2), ("version/", 0), ("manifest/", 0), ("manifest/", 1), ("heads/", 0), ("heads/", 2)],
)
def test_a_lasting_outage_is_one_error(
    network: tuple[Proxy, str], kind: str, storm: int, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, uri = network
    store = new_store(uri)
    session = store.begin("run")
    one_epoch(session, 0)
    status, code = STORMS[storm]
    state.faults.append(Fault("PUT", f"/maps/{kind}", Action.REFUSE, 10**6, status, code))
    monkeypatch.setenv(patience.PATIENCE_VARIABLE, "0.15")
    with pytest.raises(
        maps.StoreAwayError, match=rf"maps/{kind}.* cannot be written: .*{code}.*; tried for \d.* s$"
    ) as caught:
        one_epoch(session, 1)
    assert len(os.environ["AWS_SECRET_ACCESS_KEY"]) < 9 or os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert 10**6 - state.faults[0].times >= 2
    state.faults.clear()
    # The next attempt goes on from the last checkpoint.
    one_epoch(store.begin("run", from_version=2), 1)
    assert store.at().digest() == undisturbed
    assert store.verify().ok


def test_truncated_responses(network: tuple[Proxy, str], undisturbed: str) -> None:
    state, uri = network
    kinds = ("store.json", "index/", "delta/", "base/", "manifest/", "heads/", "fence/", "version/")
    whole_run(uri)
    state.faults += [Fault("GET", f"/maps/{kind}", Action.CUT, times=2) for kind in kinds]
    store = maps.open(uri)
    assert store.verify().ok
    assert store.at().digest() == undisturbed
    assert not any(fault.times for fault in state.faults)


@pytest.mark.parametrize("kind", ["store.json", "index/", "base/", "manifest/", "fence/", "heads/"])
def test_a_bit_flip_in_transit(network: tuple[Proxy, str], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that verifies the server's checksum retries; otherwise the store detects the damage."""
    state, uri = network
    store = maps.create(uri, rows=ROWS, grid=GRID, shard_rows=64)
    one_epoch(store.begin("run"), 0)
    expected = read_all(uri)
    flip = Fault("GET", f"/maps/{kind}", Action.FLIP, times=0)
    state.faults.append(flip)
    for server_sends, client_checks in ((True, True), (True, False), (False, True)):
        state.checksums = server_sends
        monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported" if client_checks else "when_required")
        flip.times = 1
        if server_sends and client_checks:
            assert read_all(uri) == expected
        else:
            with pytest.raises(maps.DamagedError, match=kind):
                read_all(uri)
        assert flip.times == 0
        assert read_all(uri) == expected


def read_all(uri: str) -> tuple[str, int]:
    """Read an object of every kind; the digest and the number of the maps."""
    store = maps.open(uri)
    store.head("run")
    return store.at().digest(), store.at().coverage
