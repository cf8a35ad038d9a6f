"""What tests of several parts share."""

from __future__ import annotations

import gc
import os
import secrets
import subprocess
import threading
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

from attn.files.patience import PATIENCE_VARIABLE
from attn.files.s3 import CHECKSUMS
from tests.namespaces import skip_if_refused
from tests.s3 import radosgw as ceph
from tests.s3.proxy import Proxy, proxy
from tests.tracking.migrated import copy_after_first

# Ray reads at its import how clients show their token, and a test may import it before another one starts a session.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
# Of whoever runs the tests: theirs is no place for what tests record.
os.environ.pop("MLFLOW_TRACKING_URI", None)

ROOT = Path(__file__).resolve().parent.parent
# Warnings of our own calls are errors in the processes that tests start, too: `tests/processes/sitecustomize.py`.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "tests/processes"), os.environ.get("PYTHONPATH")]))
# The server takes any; tests search for these where no key belongs.
S3_KEYS = {"AWS_ACCESS_KEY_ID": "ACCESSKEYOFATEST", "AWS_SECRET_ACCESS_KEY": "made-up/for+tests/and+only/for+them"}

LONGEST_FIRST = (
    "jobs/test_sweep.py",
    "services/test_whole.py",
    "journey/test_journey.py",
    "jobs/test_train.py",
    "services/test_ray_jobs.py",
    "services/test_jobs.py",
    "services/cli/test_jobs.py",
    "jobs/test_segment.py",
    "test_distribution.py",
    "jobs/test_accumulation.py",
    "jobs/test_lifecycle.py",
    "jobs/test_pipeline.py",
    "hostile/test_api_schema.py",
    "hostile/test_stores.py",
    "tracking/test_model.py",
    "methods/test_registry.py",
    "store/test_conformance.py",
    "store/test_faults.py",
    "store/test_crash.py",
    "crash/test_full_disk.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, and mark the tests whose outcome depends on what a machine may lack.

    Processes take files in this order, and a long one at the end would leave a core idle. `.ci/run` runs the tests that
    are marked with what they use, and without.
    """
    location = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: location.get(item.path, len(location)))
    for item in items:
        if {"shared", "ceph_missing", "chromium"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("optional")


def pytest_collection_finish() -> None:
    """Let the collector of reference cycles look more often from here on: `tests/processes` had it wait for imports.

    What was imported and collected stays: to look at all of it takes half a second.
    """
    gc.freeze()
    gc.set_threshold(50_000)


class ByFileAndRay(LoadFileScheduling):
    """A file to a process, and all files that use the Ray session to the same one, so that there is one session."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "ray" if _uses_ray(file) else file


@cache
def _uses_ray(file: str) -> bool:
    return "ray_up" in (ROOT / file).read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileAndRay | None:
    return ByFileAndRay(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_runtest_setup() -> None:
    copy_after_first()
    os.environ.pop(PATIENCE_VARIABLE, None)  # of a driver that a test ran in this process


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of papers, photographs and weights that is handed round beside the repository, not in it.

    Where the folder is wrong, or ATTN_SHARED names one that is not there, the tests that need it fail.
    """
    named, beside = os.environ.get("ATTN_SHARED"), ROOT.parent / "shared"
    if named is None and not beside.exists():
        # Photographs and weights of others may not be passed on with the code, and a clone that stands alone cannot
        # get them: to fail there would be to fail for everyone who has only the repository.
        pytest.skip(f"no {beside}: set ATTN_SHARED to the folder with the photographs and weights")
    folder = Path(named or beside)
    assert folder.is_dir(), f"ATTN_SHARED names no folder: {folder}"
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server in this process, for as long as the session lasts.

    It writes one object at a time: moto looks at a condition and writes in two steps, between which another of its
    threads may write, where S3 does both as one.
    """
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    put, one = S3Response._key_response_put, threading.Lock()

    def put_alone(self: S3Response, *arguments: Any, **named: Any) -> Any:
        with one:
            return put(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "_key_response_put", put_alone)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def s3_server(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket's URI, `s3://attn-test`, on a server that boto3 finds by the environment."""
    import boto3
    import requests

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        **S3_KEYS,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", *CHECKSUMS):  # a Ray session sets the latter, and leaves them behind
        monkeypatch.delenv(name, raising=False)
    requests.post(f"{s3_endpoint}/moto-api/reset", timeout=60)
    client = boto3.client("s3")
    client.create_bucket(Bucket="attn-test")
    client.close()
    return "s3://attn-test"


@pytest.fixture(scope="session")
def ceph_missing() -> str | None:
    """Why Ceph's programs cannot be used; None where they can."""
    return ceph.missing()


@pytest.fixture(scope="session")
def ceph_installed(ceph_missing: str | None) -> None:
    """That Ceph's programs are there, which `.ci/install-radosgw` brings."""
    if ceph_missing:
        # They are no Python packages: set-up cannot bring them, and on Debian only root can, as `.ci/run` does.
        # To a user without root a failure would say nothing of the code. The store's conformance and fault tests run
        # against moto's server there; what only a real server shows is left to those who have one.
        pytest.skip(f"no radosgw: {ceph_missing}")


@pytest.fixture(scope="session")
def radosgw_node(ceph_installed: None) -> Iterator[ceph.Radosgw]:
    """Ceph's S3 gateway in processes of its own, for as long as the session lasts."""
    with ceph.radosgw() as node:
        yield node


@pytest.fixture(scope="session")
def radosgw_client(radosgw_node: ceph.Radosgw) -> Iterator[Any]:
    """A client of Ceph's gateway: a new one for each bucket would read boto3's description of S3 again."""
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        for name, value in radosgw_node.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        # A session of its own: boto3's default one would keep another server's keys.
        client = boto3.Session().client("s3")
    yield client
    client.close()


@pytest.fixture
def radosgw(
    request: pytest.FixtureRequest, radosgw_node: ceph.Radosgw, radosgw_client: Any, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A new bucket's URI on a real S3 server, which boto3 finds by the environment."""
    assert request.node.get_closest_marker("optional"), "a parameter that asks for radosgw is to be marked so"
    for name, value in radosgw_node.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", *CHECKSUMS):  # a Ray session sets the latter, and leaves them behind
        monkeypatch.delenv(name, raising=False)
    bucket = f"attn-{uuid.uuid4().hex[:12]}"
    radosgw_client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 256 kB, for what happens on a full disk.

    It is mounted in a namespace of a process of its own, which needs no root where the kernel lets users have such.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$0" && echo mounted && read -r _'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ) as holder:
        assert holder.stdout
        if holder.stdout.readline() != "mounted\n":
            said = holder.communicate()[1].strip()
            skip_if_refused(said)
            pytest.fail(said)
        yield Path(f"/proc/{holder.pid}/root{folder}")
        holder.communicate("\n")


@pytest.fixture(scope="session")
def workers_network(s3_endpoint: str) -> Iterator[Proxy]:
    """The network between the workers of `ray_up` and the S3 server."""
    with proxy(s3_endpoint) as state:
        yield state


@pytest.fixture(scope="session")
def ray_up(workers_network: Proxy) -> Iterator[None]:
    """One Ray session for all jobs of the tests; its workers know the S3 server."""
    from jobs.ray_cluster.session import ray_session

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", workers_network.endpoint)
        for name, value in S3_KEYS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with ray_session():
            yield


@pytest.fixture
def quick() -> list[str]:
    """Overrides that make a run on generated scenes a matter of seconds, once its processes are up."""
    return [
        "data.count=64",
        "data.size=32",
        "input.size=32",
        "training.epochs=2",
        "training.batch_size=16",
        "method.warmup_epochs=1",
        "cluster.workers=2",
        "tracking.preview_images=2",
    ]
