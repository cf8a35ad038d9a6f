"""An object store that is away for a while: a run waits for it; what only its user can mend ends at once."""

from __future__ import annotations

import io
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from boto3.exceptions import RetriesExceededError, S3UploadFailedError
from botocore import exceptions as failures
from PIL import Image

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sources.folder import FolderConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError, RunError, StorageAwayError
from attn.files import patience
from attn.files.locations import FileFault, list_files, read_bytes
from attn.files.patience import PATIENCE_VARIABLE, call, is_transient
from attn.files.transfer import download_file, size, upload_file, write_bytes
from attn.training.world import TrainingStopped, World
from jobs.runs.checkpoints import ray_storage
from jobs.runs.run_folder import RunFolder
from tests.s3.proxy import Action, Fault, Proxy, proxy
from tests.store.small import new_store, one_epoch


def answer(status: int, code: str) -> failures.ClientError:
    return failures.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # pyright: ignore[reportArgumentType]


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


URL = "http://127.0.0.1:9"
ERRORS: list[tuple[Exception, bool]] = [
    (failures.EndpointConnectionError(endpoint_url=URL), True),  # refused, no route, or a name that DNS does not know
    (failures.ConnectionClosedError(endpoint_url=URL), True),
    (failures.ConnectTimeoutError(endpoint_url=URL), True),
    (failures.ReadTimeoutError(endpoint_url=URL), True),
    (failures.ProxyConnectionError(proxy_url=URL), True),
    (failures.ResponseStreamingError(error="reset"), True),
    (failures.IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
    (failures.FlexibleChecksumError(error_msg="crc32"), True),
    (failures.CredentialRetrievalError(provider="iam-role", error_msg="timed out"), True),
    (failures.SSLError(endpoint_url=URL, error="EOF occurred in violation of protocol"), True),
    (ConnectionResetError(), True),
    (TimeoutError(), True),
    (answer(500, "InternalError"), True),
    (answer(502, "502"), True),
    (answer(503, "SlowDown"), True),
    (answer(504, "504"), True),
    (answer(429, "TooManyRequests"), True),
    (answer(409, "ConditionalRequestConflict"), True),
    (answer(400, "RequestTimeout"), True),
    (caused(S3UploadFailedError("upload"), answer(503, "SlowDown")), True),
    (RetriesExceededError(ConnectionResetError()), True),
    (failures.SSLError(endpoint_url=URL, error="CERTIFICATE_VERIFY_FAILED: self signed"), False),
    (failures.SSLError(endpoint_url=URL, error="[SSL: WRONG_VERSION_NUMBER]"), False),
    (failures.NoCredentialsError(), False),
    (failures.ProfileNotFound(profile="x"), False),
    (failures.ParamValidationError(report="x"), False),
    (answer(403, "AccessDenied"), False),
    (answer(403, "SignatureDoesNotMatch"), False),
    (answer(403, "RequestTimeTooSkewed"), False),
    (answer(404, "NoSuchBucket"), False),
    (answer(404, "NoSuchKey"), False),
    (answer(412, "PreconditionFailed"), False),
    (answer(400, "InvalidRequest"), False),
    (answer(501, "NotImplemented"), False),
    (answer(301, "PermanentRedirect"), False),
    (caused(S3UploadFailedError("upload"), answer(403, "AccessDenied")), False),
    (FileNotFoundError(), False),
    (ValueError(), False),
]


@pytest.mark.parametrize(("error", "transient"), ERRORS, ids=[f"{number}" for number in range(len(ERRORS))])
def test_which_errors_may_pass_by_themselves(error: Exception, *, transient: bool) -> None:
    assert is_transient(error) is transient


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 1000.0
    slept: list[float] | None = None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept = [*(self.slept or []), seconds]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(patience, "time", made)
    monkeypatch.setattr(patience, "client", lambda **_: None)
    monkeypatch.setattr(patience, "_answered", set())
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    return made


REFUSED = failures.EndpointConnectionError(endpoint_url=URL)
DAMAGED = failures.FlexibleChecksumError(error_msg="crc32")


def away(clock: Clock, until: float, error: Exception = REFUSED) -> Callable[[Any], str]:
    """A request to a store that answers only from a time on."""

    def request(_: Any) -> str:
        if clock.now < until:
            raise error
        return "content"

    return request


def test_waits_grow_and_two_lines_are_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    call("s3://b/k", away(clock, 0.0))
    begun = clock.now
    assert call("s3://b/k", away(clock, begun + 60)) == "content"
    slept = clock.slept or []
    assert 60 <= sum(slept) <= 65
    assert all(0.1 * 2**number / 2 <= wait <= 5.0 for number, wait in enumerate(slept[:5], start=1))
    assert max(slept) <= 5.0 < 2 * min(slept[10:])
    assert len(set(slept)) == len(slept)
    begin, end = [record.message for record in caplog.records]
    assert "cannot be reached" in begin
    assert "trying again for up to 2 min 0 s; Ctrl-C ends" in begin
    assert end.startswith("the object store answers again, after 1 min")


def test_a_moment_is_not_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    call("s3://b/k", away(clock, clock.now + 0.4))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("before", "variable", "seconds"), [(False, None, 3), (True, None, 120), (False, "600", 600), (True, "0.5", 0.5)]
)
def test_patience_ends(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, *, before: bool, variable: str | None, seconds: float
) -> None:
    """Short for an address that never answered; as long as it is told for a run."""
    if before:
        call("s3://b/k", away(clock, 0.0))
    if variable:
        monkeypatch.setenv(PATIENCE_VARIABLE, variable)
    begun = clock.now
    with pytest.raises(StorageAwayError, match=r"^s3://b/k: the object store cannot be reached .*; tried for "):
        call("s3://b/k", away(clock, begun + 10_000))
    assert clock.now - begun == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["2m", "", "-1", "nan", "inf"])
def test_a_patience_that_is_no_number_is_one_error(clock: Clock, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, value)
    for ask in (lambda: call("s3://b/k", away(clock, clock.now + 10)), lambda: patience.patience_of(120.0)):
        with pytest.raises(ConfigError, match=f"ATTN_STORAGE_PATIENCE='{value}' is no number of seconds"):
            ask()


@pytest.mark.parametrize(
    ("configured", "variable", "seconds"),
    [(120.0, None, 120), (120.0, "600", 600), (30.0, "600", 30), (30.0, None, 30)],
)
def test_the_environment_counts_where_a_config_says_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, configured: float, variable: str | None, seconds: float
) -> None:
    if variable is not None:
        monkeypatch.setenv(PATIENCE_VARIABLE, variable)
    assert patience.patience_of(configured) == seconds


def test_an_answer_that_stays_damaged_is_not_asked_for_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "600")
    begun = clock.now
    with pytest.raises(patience.ObjectStoreError, match="differs from its checksum, each time"):
        call("s3://b/k", away(clock, begun + 10_000, DAMAGED))
    assert clock.now - begun < 10


@pytest.mark.parametrize("seconds", ["600", "0.01"])
def test_an_object_that_stays_damaged_is_a_fault_of_its_file(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    """A data set can skip it; the store is there."""
    monkeypatch.setenv(PATIENCE_VARIABLE, seconds)
    monkeypatch.setattr(patience, "client", lambda **_: Mock(get_object=Mock(side_effect=DAMAGED)))
    with pytest.raises(FileFault, match="s3://b/k: what the object store sends differs"):
        read_bytes("s3://b/k")


def test_one_damaged_answer_in_an_outage_is_no_fault_of_the_file(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "60")
    answers = itertools.chain([DAMAGED], itertools.repeat(REFUSED))
    monkeypatch.setattr(patience, "client", lambda **_: Mock(get_object=Mock(side_effect=answers)))
    with pytest.raises(StorageAwayError):
        read_bytes("s3://b/k")


def test_what_the_user_must_mend_is_tried_once(clock: Clock) -> None:
    for error, transient in ERRORS:
        if not transient and not isinstance(error, (FileNotFoundError, ValueError)):
            with pytest.raises(patience.ObjectStoreError):
                call("s3://b/k", away(clock, clock.now + 1, error))
    assert clock.slept is None


@pytest.fixture
def network(s3_server: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy(s3_endpoint) as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.endpoint)
        yield state


def test_three_seconds_away(network: Proxy, s3_server: str, tmp_path: Path) -> None:
    """Everything that a run does there waits, and is then done as if nothing had been."""
    run = RunFolder(f"{s3_server}/runs", "x")
    run.begin(kind="train", state="running")
    write_bytes(f"{s3_server}/photo.jpg", b"photo")
    store = new_store(f"{s3_server}/maps")
    session = store.begin("run")
    one_epoch(session, 0)
    weights = tmp_path / "training.pt"
    weights.write_bytes(bytes(range(256)) * 4096)
    path, files = ray_storage(run.uri)
    snapshot = f"{path}/checkpoints/snapshot.json"

    def keep_snapshot() -> bytes:
        files.create_dir(f"{path}/checkpoints")
        with files.open_output_stream(snapshot) as stream:
            stream.write(b"{}")
        with files.open_input_stream(snapshot) as stream:
            return stream.read()

    work: list[Callable[[], object]] = [
        lambda: read_bytes(f"{s3_server}/photo.jpg"),
        lambda: list_files(s3_server),
        lambda: size(f"{s3_server}/photo.jpg"),
        lambda: run.update(epoch=1),
        lambda: upload_file(weights, run.path("checkpoints/epoch-0001/training.pt")),
        lambda: download_file(f"{s3_server}/photo.jpg", tmp_path / "photo.jpg"),
        lambda: one_epoch(session, 1),
        keep_snapshot,
    ]
    network.leave(3.0)
    begun = time.monotonic()
    with ThreadPoolExecutor(len(work)) as pool:
        results = [future.result() for future in [pool.submit(one) for one in work]]
    assert time.monotonic() - begun >= 2.5
    assert results == [b"photo", ["photo.jpg"], 5, None, None, None, 4, b"{}"]
    assert run.state().epoch == 1
    assert read_bytes(run.path("checkpoints/epoch-0001/training.pt")) == weights.read_bytes()
    assert (tmp_path / "photo.jpg").read_bytes() == b"photo"
    assert store.verify().ok
    assert [manifest.version for manifest, _ in store.history()] == [1, 2, 3, 4]


def test_a_commit_of_which_the_answer_is_lost_before_the_store_is_away(network: Proxy, s3_server: str) -> None:
    """The writer finds that the manifest that lies there is its own."""
    store = new_store(f"{s3_server}/maps")
    session = store.begin("run")
    network.faults += [
        Fault("PUT", "/maps/manifest/", Action.LOSE),
        Fault("PUT", "/maps/manifest/", Action.AWAY, seconds=0.5),
    ]
    assert one_epoch(session, 0) == 2
    assert [fault.times for fault in network.faults] == [0, 0]
    assert [manifest.version for manifest, _ in store.history()] == [1, 2]


def test_an_image_of_a_store_that_is_away_is_not_skipped(
    network: Proxy, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo, "PNG")
    for name in ("cat/a.png", "dog/b.png"):
        write_bytes(f"{s3_server}/photos/{name}", photo.getvalue())
    source = FolderConfig.model_validate({"root": f"{s3_server}/photos", "split": ".", "on_error": "skip"}).build()
    dataset = AttentionDataset(source, InputConfig(size=8), seed=0, train=False)
    assert dataset[0].skipped == ()
    monkeypatch.setenv(PATIENCE_VARIABLE, "0.05")
    network.leave(0.5)
    with pytest.raises(StorageAwayError):
        dataset[0]
    with pytest.raises(StorageAwayError):
        next(iter(build_loader(dataset, [[0, 1]], workers=0)))


@dataclass(frozen=True)
class Pair(World):
    """The first of two workers; the other one ends as it is told."""

    other: Any = None

    def any(self, value: bool) -> bool:
        return value or self.other is not None

    def gather(self, value: Any) -> list[Any]:
        return [value, self.other]


def fails(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (StorageAwayError("away"), None, StorageAwayError),
        (None, StorageAwayError("away"), StorageAwayError),
        (StorageAwayError("away"), RunError("no such bucket"), TrainingStopped),
        (RunError("no such bucket"), StorageAwayError("away"), TrainingStopped),
        (FileFault("s3://b/k", "no such object"), None, TrainingStopped),
    ],
)
def test_all_workers_learn_whether_a_restart_may_help(
    own: Exception | None, others: Exception | None, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[Any] = []
    for error in (own, others):  # what each of them has to say
        with monkeypatch.context() as patch:
            patch.setattr(World, "any", lambda self, value: value)
            patch.setattr(World, "gather", lambda self, value: caught.append(value) or [value])
            world = World(0, 2, torch.device("cpu"))
            if error is None:
                caught.append(None)
            else:
                with pytest.raises(type(error) if isinstance(error, StorageAwayError) else TrainingStopped):
                    world.all_or_raise(fails(error))
    for mine, its in itertools.permutations((0, 1)):
        error = (own, others)[mine]
        world = Pair(mine, 2, torch.device("cpu"), other=caught[its])
        with pytest.raises(expected) as ended:
            world.all_or_raise((lambda: None) if error is None else fails(error))
        assert type(ended.value) is expected


def test_an_address_that_never_answered_is_one_error_in_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, s3_server: str
) -> None:
    """Also a server that accepts connections and never says anything."""
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)  # a training in this process has set it
    monkeypatch.setattr(patience, "_answered", set())
    monkeypatch.setattr("attn.files.s3.BRIEF_READ_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(patience, "BRIEF_PATIENCE_SECONDS", 0.2)
        begun = time.monotonic()
        with pytest.raises(StorageAwayError, match="ReadTimeoutError"):
            read_bytes(f"{s3_server}/x")
    assert time.monotonic() - begun < 5
