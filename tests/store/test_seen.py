"""Maps of crops: pixels outside of a crop do not change, through all operations of a store.

`format_1.npz` contains a tar file with a store of each fusion in format 1, in which means had one count per row, and
its expected content: two epochs of random maps, a fallback, a row without a map, and a sealed map that is not merged
yet.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn import store as maps
from attn.store import MapError, MapStore, StoreError
from attn.store.format.algebra import FALLBACK
from attn.store.format.records import pack, unpack
from tests.store.memory import MemoryBackend
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_map, random_seen

LEFT = np.arange(GRID[1])[None].repeat(GRID[0], 0) < GRID[1] // 2
ONES = np.ones(GRID)
PAIR = PAIRS[0]


def committed(fusion: str, *epochs: list[tuple[Any, Any, bool]]) -> np.ndarray:
    """The map of one row after each epoch's (map, seen, fallback) were added."""
    store = new_store(fusion)
    session = store.begin("run")
    for epoch, added in enumerate(epochs):
        writer = session.writer(0)
        for new, seen, fallback in added:
            writer.add(*PAIR, new, seen_hw=seen, fallback=fallback)
        session.commit(epoch, [writer.seal()])
    assert store.verify().ok
    return store.at().rows(0, 1)[1][0]


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_pixels_outside_of_a_crop_do_not_change(fusion: str) -> None:
    whole, left = [(ONES, None, False)], [(ONES, LEFT, False)]
    np.testing.assert_array_equal(committed(fusion, whole, left, left), 255)
    np.testing.assert_array_equal(committed(fusion, left, left, whole), 255)
    np.testing.assert_array_equal(committed(fusion, left, left), 255 * LEFT)
    # Two parts of one epoch are one map of all.
    np.testing.assert_array_equal(committed(fusion, [(ONES, LEFT, False), (ONES, ~LEFT, False)], whole), 255)


def test_a_mean_is_over_the_maps_that_saw_the_pixel() -> None:
    result = committed("mean", [(ONES * 0.8, None, False)], [(ONES * 0.2, LEFT, False)], [(ONES * 0.2, LEFT, False)])
    np.testing.assert_array_equal(result, np.where(LEFT, round(255 * 0.4), round(255 * 0.8)))
    # What lies beside the crop is no value, whatever its number.
    result = committed("mean", [(ONES, None, False)], [(ONES * 0.5, LEFT, False)])
    np.testing.assert_array_equal(result[~LEFT], 255)


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_an_accepted_crop_replaces_a_fallback_and_a_fallback_keeps_to_its_crop(fusion: str) -> None:
    fallback, crop = [(ONES, LEFT, True)], [(ONES * 0.4, ~LEFT, False)]
    np.testing.assert_array_equal(committed(fusion, fallback), 255 * LEFT)
    np.testing.assert_array_equal(committed(fusion, fallback, crop), 102 * ~LEFT)
    np.testing.assert_array_equal(committed(fusion, crop, fallback), 102 * ~LEFT)


def test_with_max_the_seen_pixels_make_no_difference() -> None:
    stores: list[MapStore] = []
    for give in (False, True):
        store, rng = new_store("max"), np.random.default_rng(3)
        session = store.begin("run")
        for epoch in range(3):
            writer = session.writer(0)
            for pair in PAIRS:
                new, seen = random_map(rng), random_seen(rng, 1)[0]
                writer.add(*pair, new * seen, **({"seen_hw": seen} if give else {}), fallback=bool(rng.integers(2)))
            session.commit(epoch, [writer.seal()])
        stores.append(store)
    first, second = (store.at() for store in stores)
    assert first.digest() == second.digest()
    sizes = [sorted(len(data) for key, data in memory(store).objects.items() if "arrow" in key) for store in stores]
    assert sizes[0] == sizes[1]


def test_crops_go_through_seals_restarts_forks_and_exports(tmp_path: Path) -> None:
    store, model, rng = new_store("mean", shard_rows=4), Model("mean"), np.random.default_rng(0)
    session = store.begin("run")
    for epoch in range(3):
        for half in (PAIRS[::2], PAIRS[1::2] + PAIRS[:5]):
            writer = session.writer(0, limit_bytes=5 * GRID[0] * GRID[1])
            new, seen = np.stack([random_map(rng) for _ in half]), random_seen(rng, len(half))
            writer.add_many(half, new, seen_Nhw=seen)
            for pair, one, its in zip(half, new, seen, strict=True):
                model.add(pair, epoch, one, seen=its)
            last = half[0] != PAIRS[0]
            version = session.commit(epoch, [writer.seal(epoch)], pending=not last, expected=PAIRS if last else None)
            session = store.begin("run", from_version=version)
    model.check(store.at(), store)
    trial = store.begin("trial", from_version=store.fork(store.at().version, "fork"))
    writer = trial.writer(0)
    writer.add(*PAIR, random_map(rng), seen_hw=np.zeros(GRID, np.bool_))  # a crop that has seen no pixel's centre
    trial.commit(3, [writer.seal()], expected=1)
    model.check(store.at(run="trial"), store)
    assert store.verify().ok
    store.export(str(tmp_path / "maps.npz"), form="npz", run="trial")
    with np.load(tmp_path / "maps.npz") as file:
        np.testing.assert_array_equal(file["maps"], np.stack([model.map(pair) for pair in store.rows]))


@pytest.mark.parametrize("fusion", ["max", "mean"])
@pytest.mark.parametrize("seen", [np.ones(GRID), np.ones(GRID[::-1], np.bool_), np.True_], ids=["float", "turned", ""])
def test_seen_pixels_must_be_bool_and_have_the_maps_shape(fusion: str, seen: Any) -> None:
    writer = new_store(fusion).begin("run").writer(0)
    with pytest.raises(MapError, match=r"expected bool \(1, 3, 4\)"):
        writer.add(*PAIR, ONES, seen_hw=seen)
    assert writer.seal().rows == 0


@pytest.fixture
def written_before(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    with np.load(Path(__file__).with_name("format_1.npz")) as file:
        packed = io.BytesIO(file["archive"].tobytes())
    with tarfile.open(fileobj=packed) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path, json.loads((tmp_path / "gave.json").read_text())


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_an_old_store_still_has_its_content(
    fusion: str, written_before: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, gave = written_before[0] / fusion, written_before[1][fusion]
    store = maps.open(str(folder))
    snapshot = store.at(gave["version"])
    levels, result = snapshot.rows(0, len(store.rows))
    assert levels.tolist() == gave["levels"]
    np.testing.assert_array_equal(result, np.array(gave["maps"]))
    assert snapshot.digest() == gave["digest"]
    assert store.verify().ok
    assert store.export(str(tmp_path / "png")) == 6
    store.tag("kept", snapshot.version)
    assert store.gc(dry_run=False).versions == (1,)
    assert maps.open(str(folder)).at(gave["version"]).digest() == gave["digest"]


def test_an_old_store_with_max_can_be_continued(written_before: tuple[Path, dict[str, Any]]) -> None:
    folder, gave = written_before[0] / "max", written_before[1]["max"]
    store = maps.open(str(folder))
    same = maps.create(MemoryBackend(), rows=store.rows, grid=store.grid, classes=store.definition.classes)
    session = same.begin("anew")
    writer = session.writer(0)
    for pair, level, new in zip(store.rows, gave["levels"], gave["maps"], strict=True):
        if level:
            writer.add(*pair, np.array(new, np.uint8), fallback=level == FALLBACK)
    session.commit(0, [writer.seal()])
    assert same.at().digest() == gave["digest"]
    session = store.begin("run", from_version=store.at().version)
    session.commit(2, [], expected=1)  # the sealed map that waits
    image_id, index = next(pair for pair in store.rows if pair[0] == "i1")
    np.testing.assert_array_equal(store.at()[image_id][index], 255)


def test_an_old_store_with_mean_is_read_only(written_before: tuple[Path, dict[str, Any]]) -> None:
    store = maps.open(str(written_before[0] / "mean"))
    for write in (
        lambda: store.begin("run", from_version=store.at().version),
        lambda: store.begin("other"),
        lambda: store.fork(store.at().version, "trial"),
        lambda: maps.create(
            store.uri, rows=store.rows, grid=store.grid, fusion="mean", classes=store.definition.classes, exist_ok=True
        ),
    ):
        seen = r"\(format 1\), which counted pixels that a crop did not see as 0 .*: begin a new run with a new store"
        with pytest.raises(StoreError, match=seen):
            write()


@pytest.mark.parametrize("newer", [3, 0, None, "2"])
def test_a_newer_format_is_refused(newer: Any, written_before: tuple[Path, dict[str, Any]]) -> None:
    file = written_before[0] / "mean/store.json"
    record = unpack(file.read_bytes(), "store.json")
    file.write_bytes(pack(record | {"format": newer}))
    with pytest.raises(StoreError, match=rf"format {newer}.*reads max up to format 1, mean up to format 2: update"):
        maps.open(str(written_before[0] / "mean"))
