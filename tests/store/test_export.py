"""Maps for other programs are the store's maps, in each format."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from attn import store as maps
from attn.store import MapStore, StoreError
from tests.store.model import GRID, PAIRS, Model, new_store, random_map

LEFT_OUT = PAIRS[-2:]
FALLBACK = PAIRS[0]


@pytest.fixture
def filled() -> tuple[MapStore, Model]:
    store, model, rng = new_store(), Model("max"), np.random.default_rng(0)
    session = store.begin("run")
    for epoch in range(2):
        writer = session.writer(0)
        for pair in PAIRS[:-2]:
            new = random_map(rng)
            writer.add(*pair, new, fallback=pair == FALLBACK)
            model.add(pair, epoch, new, fallback=pair == FALLBACK)
        session.commit(epoch, [writer.seal()])
    return store, model


def test_pngs_one_per_image_and_class(filled: tuple[MapStore, Model], tmp_path: Path) -> None:
    store, model = filled
    assert store.export(str(tmp_path / "png")) == len(PAIRS) - 2
    assert {path.name for path in (tmp_path / "png").iterdir()} == {f"{i}_{c}.png" for i, c in PAIRS[:-2]}
    for image_id, index in PAIRS[:-2]:
        result = cv2.imread(str(tmp_path / "png" / f"{image_id}_{index}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(result, model.map((image_id, index)))


def test_one_npz(filled: tuple[MapStore, Model], tmp_path: Path) -> None:
    store, model = filled
    assert store.export(str(tmp_path / "deep" / "maps.npz"), form="npz") == len(PAIRS) - 2
    with np.load(tmp_path / "deep" / "maps.npz") as file:
        results = {
            (str(i), int(c)): m for i, c, m in zip(file["image_ids"], file["classes"], file["maps"], strict=True)
        }
        assert file["accepted"].tolist() == [pair != FALLBACK for pair in results]
    assert results.keys() == set(PAIRS[:-2])
    for pair, map_hw in results.items():
        np.testing.assert_array_equal(map_hw, model.map(pair))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["maps.npz"]


def test_one_parquet_file_of_an_older_version(filled: tuple[MapStore, Model], tmp_path: Path) -> None:
    store, _ = filled
    store.export(str(tmp_path / "maps.parquet"), form="parquet", version=1)
    table = pq.read_table(tmp_path / "maps.parquet")
    assert table.schema.metadata[b"height"] == b"3"
    for row in table.to_pylist():
        expected = store.at(1).maps([store.rows.row(row["image_id"], row["class"])])[0]
        assert row["map"] == expected.tobytes()
        assert row["accepted"] is ((row["image_id"], row["class"]) != FALLBACK)


@pytest.mark.parametrize("form", ["npz", "parquet", "png"])
def test_an_empty_store_gives_an_empty_file(form: str, tmp_path: Path) -> None:
    assert new_store().export(str(tmp_path / "x"), form=form) == 0


def test_an_unwritable_target_is_an_error(tmp_path: Path, filled: tuple[MapStore, Model]) -> None:
    store, _ = filled
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="use one of png, npz, parquet"):
        store.export(str(tmp_path), form="tar")
    with pytest.raises(StoreError, match="is not a local path"):
        store.export("s3://bucket/x")
    for form in ("png", "npz", "parquet"):
        with pytest.raises(StoreError, match="cannot be written"):
            store.export(str(tmp_path / "file" / "x"), form=form)
    odd = maps.create(str(tmp_path / "odd"), rows=[("../up", 0), ("a/b", 0)], grid=GRID)
    session = odd.begin("run")
    writer = session.writer(0)
    writer.add("a/b", 0, np.ones(GRID))
    session.commit(0, [writer.seal()])
    odd.export(str(tmp_path / "png"))
    assert (tmp_path / "png" / "a" / "b_0.png").exists()
    writer.add("../up", 0, np.ones(GRID))
    session.commit(1, [writer.seal()])
    with pytest.raises(StoreError, match="leads out of .*; export as npz"):
        odd.export(str(tmp_path / "png"))
    assert not (tmp_path / "up_0.png").exists()
