"""A store in an object store: the same content as in a folder, no secrets, and a local cache that may be damaged."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from attn import store as maps
from attn.files.patience import PATIENCE_VARIABLE
from attn.store import ConditionsIgnoredError, MapStore, Snapshot, StoreError
from attn.store.backends.s3 import S3Backend
from attn.store.cache import CACHE, CACHE_BYTES, ObjectCache
from tests.store.memory import MemoryBackend
from tests.store.model import GRID, PAIRS


def run(uri: str) -> MapStore:
    """Three epochs by two writers, with a restart in the middle of the second."""
    store = maps.create(uri, rows=PAIRS, grid=GRID, shard_rows=8)
    session = store.begin("run")
    for epoch in range(3):
        new = np.random.default_rng(epoch).integers(0, 256, (len(PAIRS), *GRID), dtype=np.uint8)
        first, second = session.writer(0), session.writer(1)
        first.add_many(PAIRS[::2], new[::2])
        half = session.commit(epoch, [first.seal()], pending=True)
        if epoch == 1:
            session = store.begin("run", from_version=half)
            second = session.writer(1)
        second.add_many(PAIRS[1::2], new[1::2])
        session.commit(epoch, [second.seal()], expected=PAIRS)
        session.publish()
    return store


@pytest.fixture
def stored(s3_server: str) -> MapStore:
    return run(f"{s3_server}/deep/prefix")


def test_an_object_store_has_the_same_content_as_a_folder(stored: MapStore, tmp_path: Path) -> None:
    local = run(str(tmp_path / "s"))
    assert stored.at().digest() == local.at().digest()
    assert stored.verify().ok
    assert [manifest.version for manifest, _ in stored.history()] == [
        manifest.version for manifest, _ in local.history()
    ]
    again = maps.open(stored.uri)
    for image_id in {image_id for image_id, _ in PAIRS}:
        result, expected = again.at()[image_id], local.at()[image_id]
        assert result.keys() == expected.keys()
        for index, map_hw in expected.items():
            np.testing.assert_array_equal(result[index], map_hw)
    assert stored.gc(dry_run=False).keys == ()
    with pytest.raises(StoreError, match="holds no map store"):
        maps.open(f"{stored.uri}/elsewhere")


def test_errors_and_reprs_have_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "0.1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:verysecret@127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(StoreError, match=r"cannot be read: .*cannot be reached.*; tried for \d") as caught:
        maps.create("s3://bucket/prefix", rows=PAIRS, grid=GRID)
    text = f"{caught.value} {caught.value!r} {S3Backend('bucket', 'prefix')!r} {caught.value.__cause__}"
    assert "SECRET" not in text
    assert "secret" not in text


class Overwriting(MemoryBackend):
    def create(self, key: str, data: bytes) -> bool:
        self.write(key, data)
        return True


class Replacing(MemoryBackend):
    def replace(self, key: str, data: bytes, tag: str) -> bool:
        self.write(key, data)
        return True


class Stubborn(MemoryBackend):
    def replace(self, key: str, data: bytes, tag: str) -> bool:
        return False


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Overwriting, "overwrites an existing object despite If-None-Match"),
        (Replacing, "replaces a changed object despite If-Match"),
        (Stubborn, "refuses to replace an unchanged object"),
    ],
)
def test_a_backend_that_ignores_conditional_writes_is_refused(kind: type[MemoryBackend], text: str) -> None:
    backend = kind()
    with pytest.raises(ConditionsIgnoredError, match=text):
        maps.create(backend, rows=PAIRS, grid=GRID)
    assert backend.objects == {}
    good = maps.create(MemoryBackend(), rows=PAIRS, grid=GRID)
    backend.objects = dict(good._handle.backend.objects)
    backend.dates = dict.fromkeys(backend.objects, 0.0)
    with pytest.raises(ConditionsIgnoredError, match=text):
        maps.open(backend).begin("run")


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each object is read from the object store."""
    count: Counter[str] = Counter()
    read = S3Backend.read

    def counted(self: S3Backend, key: str, start: int = 0, stop: int | None = None) -> bytes:
        count[key] += 1
        return read(self, key, start, stop)

    monkeypatch.setattr(S3Backend, "read", counted)
    return count


def read_all(snapshot: Snapshot) -> None:
    for image_id in sorted({image_id for image_id, _ in PAIRS}):
        snapshot[image_id]


def test_a_cache_fetches_each_object_once(
    stored: MapStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: Counter[str]
) -> None:
    digest = stored.at().digest()
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    fetched.clear()
    snapshot = stored.at()
    bases = {ref.key for ref in snapshot.manifest.shards}
    read_all(snapshot)
    assert {key: fetched[key] for key in bases} == dict.fromkeys(bases, 1)
    read_all(pickle.loads(pickle.dumps(snapshot)))
    assert snapshot.digest() == digest
    assert {key: fetched[key] for key in bases} == dict.fromkeys(bases, 1)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.arrow")) == snapshot.manifest.size

    for copy in (tmp_path / "cache").glob("*.arrow"):
        data = bytearray(copy.read_bytes())
        data[len(data) // 2] ^= 4
        copy.write_bytes(data)
    assert stored.at().digest() == digest, "damaged copies are fetched anew"
    for copy in (tmp_path / "cache").glob("*.arrow"):
        copy.write_bytes(copy.read_bytes()[:-1])
    read_all(stored.at())
    assert stored.at().digest() == digest


def test_a_cache_keeps_its_size_limit(
    stored: MapStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: Counter[str]
) -> None:
    sizes = sorted(ref.size for ref in stored.at().manifest.shards)
    assert len(sizes) == 3
    limit = sizes[-1] + sizes[-2]
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE, str(folder))
    monkeypatch.setenv(CACHE_BYTES, str(limit))
    for version in (2, 4, 6):
        for _ in range(2):
            read_all(stored.at(version))
            assert 0 < sum(path.stat().st_size for path in folder.glob("*.arrow")) <= limit
    monkeypatch.setenv(CACHE_BYTES, "10")
    before = set(folder.iterdir())
    read_all(stored.at())
    assert set(folder.iterdir()) == before, "objects that are too big are read where they lie"


def read_in_a_process(snapshot: Snapshot) -> str:
    assert isinstance(snapshot._source, ObjectCache)
    read_all(snapshot)
    return snapshot.digest()


def test_processes_share_a_cache(stored: MapStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    snapshot = stored.at()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        result = pool.map(read_in_a_process, [snapshot] * 6)
    monkeypatch.delenv(CACHE)
    assert set(result) == {stored.at().digest()}
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == len(snapshot.manifest.shards)
    assert not list((tmp_path / "cache").glob(".*.part"))


def test_a_folder_is_not_cached_and_a_bad_cache_is_an_error(
    stored: MapStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    read_all(run(str(tmp_path / "s")).at())
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv(CACHE_BYTES, "20 GB")
    with pytest.raises(StoreError, match=f"{CACHE_BYTES} is '20 GB'"):
        stored.at()
    monkeypatch.delenv(CACHE_BYTES)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot be used as a cache: .*exist"):
        read_all(stored.at())
