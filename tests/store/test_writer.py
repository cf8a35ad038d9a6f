"""Writers: a call adds all of its maps or none, and no added map is lost."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from attn.store import (
    MapError,
    StoreError,
)
from tests.store.model import GRID, PAIRS, Model, memory, new_store, random_map


def test_add_many_adds_all_maps_or_none() -> None:
    store = new_store()
    writer = store.begin("run").writer(0)
    good = np.zeros((2, *GRID), np.float32)
    bad = good.copy()
    bad[1, 0, 0] = np.nan
    wrong: list[tuple[Any, Any, str]] = [
        (PAIRS[:2], bad, "NaN"),
        (PAIRS[:2], good[:1], r"shape \(1, 3, 4\) for 2 rows"),
        (PAIRS[:2], np.zeros((2, 4, 3), np.uint8), r"grid is \(3, 4\)"),
        ([PAIRS[0], ("zebra", 0)], good, "'zebra' is not in the store"),
        ([PAIRS[0], (PAIRS[0][0], 9)], good, "no row for class 9"),
        (np.array([0, len(PAIRS)]), good, "row numbers lie in"),
        (PAIRS[:2], good + 2, "lie in"),
        (PAIRS[:2], np.ones((2, *GRID), int), "int64"),
    ]
    for rows, values, text in wrong:
        with pytest.raises(MapError, match=text):
            writer.add_many(rows, values)
    with pytest.raises(ValueError, match="shape"):
        writer.add(*PAIRS[0], np.zeros((2, *GRID)))
    assert (writer.buffered_bytes, writer.accepted, writer.seal().rows) == (0, 0, 0)
    writer.add_many([], np.zeros((0, *GRID), np.uint8))
    assert writer.seal().objects == ()


def test_a_writer_seals_automatically_at_its_limit() -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    size = GRID[0] * GRID[1]
    writer = session.writer(0, limit_bytes=4 * size)
    rng = np.random.default_rng(0)
    for pair in PAIRS * 2:
        new = random_map(rng)
        writer.add(*pair, new)
        model.add(pair, 0, new)
        assert writer.buffered_bytes < 4 * size
    ref = writer.seal()
    assert len(ref.objects) == len(PAIRS) * 2 // 4
    assert pickle.loads(pickle.dumps(ref)) == ref
    session.commit(0, [ref], expected=PAIRS)
    model.check(store.at(), store)


def test_maps_are_kept_after_a_failed_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    store, model = new_store(), Model("max")
    session = store.begin("run")
    writer = session.writer(0)
    new = np.full(GRID, 7, np.uint8)
    writer.add(*PAIRS[0], new)
    model.add(PAIRS[0], 0, new)

    def full(*_: object) -> None:
        raise StoreError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory(store)), "write", full)
        with pytest.raises(StoreError, match="no space"):
            writer.seal()
    session.commit(0, [writer.seal()])
    model.check(store.at(), store)
