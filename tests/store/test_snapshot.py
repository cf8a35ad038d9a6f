"""Snapshots: content, number of reads, and equality of stores."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from attn import store as maps
from attn.store import MapStore
from tests.store.memory import MemoryBackend
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_map


def filled(store: MapStore, *, epochs: int = 1, seed: int = 0) -> Model:
    """Random maps for every row, committed by one writer."""
    model, rng = Model(store.definition.fusion), np.random.default_rng(seed)
    session = store.begin("run")
    for epoch in range(epochs):
        writer = session.writer(0)
        for pair in store.rows:
            new = random_map(rng)
            writer.add(*pair, new)
            model.add(pair, epoch, new)
        session.commit(epoch, [writer.seal()])
    return model


def test_an_image_gives_its_maps_by_class() -> None:
    store = new_store()
    session = store.begin("run")
    writer = session.writer(0)
    new = np.arange(12, dtype=np.uint8).reshape(GRID)
    writer.add("i02", 1, new)
    writer.add("i02", 2, np.zeros(GRID))
    session.commit(0, [writer.seal()])
    snapshot = store.at()
    assert list(snapshot["i02"]) == [1], "a map that is zero everywhere is none"
    np.testing.assert_array_equal(snapshot["i02"][1], new)
    assert snapshot["i02"][1].dtype == np.uint8
    assert snapshot["i03"] == {}
    with pytest.raises(KeyError, match="zebra"):
        snapshot["zebra"]
    assert (len(snapshot), snapshot.coverage, snapshot.run) == (12, 2, "run")


def test_rows_can_be_read_in_bulk() -> None:
    store = new_store()
    model = filled(store)
    snapshot, pairs = store.at(), list(store.rows)
    numbers = np.random.default_rng(0).integers(0, len(pairs), 40)
    result = snapshot.maps(numbers)
    for index, row in enumerate(numbers):
        np.testing.assert_array_equal(result[index], model.map(pairs[row]))
    assert snapshot.maps([]).shape == (0, *GRID)
    joined = [(start, levels, part) for start, levels, part in snapshot.shards()]
    assert [start for start, _, _ in joined] == store._handle.shard_bounds[:-1].tolist()
    np.testing.assert_array_equal(np.concatenate([part for _, _, part in joined]), snapshot.rows(0, len(pairs))[1])


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_an_image_is_one_read(fusion: str) -> None:
    pairs = [(f"i{number:04d}", index) for number in range(300) for index in range(number % 3 + 1)]
    store = maps.create(MemoryBackend(), rows=pairs, grid=GRID, fusion=fusion, shard_rows=200)
    model = filled(store)
    snapshot, backend = store.at(), memory(store)
    images = sorted({image_id for image_id, _ in pairs})
    for image_id in images:  # the tables of all shards
        snapshot[image_id]
    size = len(memory(store).objects[store.at().manifest.shards[0].key])
    for image_id in np.random.default_rng(1).permutation(images):
        backend.reads.clear()
        result = snapshot[str(image_id)]
        assert len(backend.reads) <= 1
        for _, start, stop in backend.reads:
            assert stop is not None
            assert stop - start < size
        for pair in pairs:
            if pair[0] == image_id:
                np.testing.assert_array_equal(result.get(pair[1], np.zeros(GRID)), model.map(pair))


def test_reading_in_order_decodes_each_batch_once() -> None:
    pairs = [(f"i{number:04d}", 0) for number in range(256)]
    store = maps.create(MemoryBackend(), rows=pairs, grid=GRID, shard_rows=256)
    filled(store)
    snapshot, backend = store.at(), memory(store)
    backend.reads.clear()
    for image_id, _ in pairs:
        snapshot[image_id]
    assert len(backend.reads) == 2 + 256 // 64


def digest(pairs: list[tuple[str, int]] = PAIRS, **options: Any) -> str:
    """The digest of a store with fixed maps."""
    options = {"grid": GRID, "fusion": "max", "shard_rows": 8, "classes": ("a", "b", "c")} | options
    fallback, change = options.pop("fallback", False), options.pop("change", None)
    store = maps.create(MemoryBackend(), rows=pairs, **options)
    session = store.begin(options.pop("run", "run") if "run" in options else "run")
    for epoch in range(2):
        for rank in range(2):
            writer = session.writer(rank)
            for pair in pairs[rank::2]:
                new = np.full(options["grid"], (PAIRS.index(pair) * 7 + epoch) % 256, np.uint8)
                if pair == change:
                    new[-1, -1] += 64
                writer.add(*pair, new, fallback=fallback)
            session.commit(epoch, [writer.seal()])
    return store.at().digest()


def test_equal_content_has_an_equal_digest_and_other_content_another() -> None:
    plain = digest()
    assert plain == digest(shard_rows=64) == digest(shard_rows=1) == digest(fingerprint="data")
    assert plain == digest(PAIRS[::-1])
    others = [
        digest(PAIRS[:-1]),
        digest(grid=GRID[::-1]),
        digest(fusion="mean"),
        digest(classes=("a", "b", "d")),
        digest(classes=()),
        digest(fallback=True),
        digest(change=PAIRS[4]),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_stores_and_snapshots_travel(tmp_path: Path) -> None:
    store = maps.create(str(tmp_path / "s"), rows=PAIRS, grid=GRID, shard_rows=8)
    model = filled(store)
    snapshot = store.at()
    snapshot["i00"]
    assert len(pickle.dumps(snapshot)) < 20_000
    model.check(pickle.loads(pickle.dumps(snapshot)), pickle.loads(pickle.dumps(store)))
    # Ray may have left its handler of SIGTERM, by which a pool ends its processes.
    with multiprocessing.get_context("fork").Pool(2, signal.signal, (signal.SIGTERM, signal.SIG_DFL)) as pool:
        for image_id, item in zip(["i00", "i05"] * 3, pool.map(snapshot.__getitem__, ["i00", "i05"] * 3), strict=True):
            assert item.keys() == snapshot[image_id].keys()


def test_files_are_what_other_programs_read(tmp_path: Path) -> None:
    store = maps.create(f"file://{tmp_path}/s", rows=PAIRS, grid=GRID, shard_rows=16, classes=["a", "b", "c"])
    model = filled(store)
    session = store.begin("run", from_version=1)
    writer = session.writer(3)
    writer.add(*PAIRS[0], np.ones(GRID))
    session.commit(1, [writer.seal()], pending=True)
    root = tmp_path / "s"
    manifest = json.loads((root / "manifest/run" / f"{1:020d}.json").read_text())
    assert (manifest["version"], manifest["parent"], manifest["epoch"], manifest["fence"]) == (1, 0, 0, 1)
    levels, result = [], []
    for shard in manifest["shards"]:
        file = pa.ipc.open_file(str(root / shard["key"]))
        table = file.read_all()
        assert table.schema.metadata[b"attn.grid"] == b"[3, 4]"
        levels += table["level"].to_pylist()
        result += table["map"].to_pylist()
    assert levels == [2] * len(PAIRS)
    for row, pair in enumerate(store.rows):
        assert result[row] == model.map(pair).tobytes()
    (delta,) = json.loads((root / "manifest/run" / f"{2:020d}.json").read_text())["pending"]
    table = pa.ipc.open_file(str(root / delta["objects"][0]["key"])).read_all()
    assert table["row"].to_pylist() == [store.rows.row(*PAIRS[0])]
    index = pa.ipc.open_file(str(next((root / "index").iterdir()))).read_all()
    assert index["image_id"].to_pylist()[:2] == ["i00", "i01"]
    assert index["classes"].to_pylist()[:2] == [[0], [0, 1]]
    assert not [path for path in root.rglob(".*") if path.suffix == ".part"]


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_a_shard_is_merged_by_stripes_of_any_height(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"i{number:04d}", index) for number in range(250) for index in range(number % 3 + 1)]

    def merged(stripe_bytes: int) -> str:
        monkeypatch.setattr("attn.store.protocol.merge._STRIPE_BYTES", stripe_bytes)
        store, model = maps.create(MemoryBackend(), rows=pairs, grid=GRID, fusion=fusion, shard_rows=300), Model(fusion)
        session, rng = store.begin("run"), np.random.default_rng(0)
        for epoch in range(3):
            refs = []
            for rank in range(3):
                writer = session.writer(rank)
                # Some stripes get nothing, some get maps of several writers, and the second epoch only a few rows.
                for row in rng.choice(len(pairs), 5 if epoch == 1 else 150, replace=False):
                    new = random_map(rng)
                    writer.add(*pairs[row], new, fallback=bool(row % 7 == 0))
                    model.add(pairs[row], epoch, new, fallback=bool(row % 7 == 0))
                refs.append(writer.seal())
            session.commit(epoch, refs)
        model.check(store.at(), store)
        return store.at().digest()

    assert merged(1) == merged(100 * GRID[0] * GRID[1]) == merged(1 << 20)


def test_a_snapshot_can_be_gone_through() -> None:
    store = new_store()
    filled(store)
    snapshot = store.at()
    assert list(snapshot) == sorted({image_id for image_id, _ in PAIRS})
    assert "i03" in snapshot
    assert "zebra" not in snapshot
    assert 3 not in snapshot
