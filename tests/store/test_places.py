"""Locations that cannot contain a store are refused, with the reason."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from attn import store as maps
from attn.store import (
    ConditionsIgnoredError,
    MapStore,
    StoreError,
)
from tests.store.model import GRID, PAIRS


def test_invalid_stores_and_arguments_are_refused(tmp_path: Any) -> None:
    location = str(tmp_path / "store")
    with pytest.raises(StoreError, match=r"holds no map store: there is no store\.json"):
        maps.open(location)
    result = maps.create(location, rows=PAIRS, grid=GRID, classes=["a", "b", "c"])
    assert isinstance(maps.open(f"file://{location}"), MapStore)
    with pytest.raises(StoreError, match="already holds a store"):
        maps.create(location, rows=PAIRS, grid=GRID, classes=["a", "b", "c"])
    again = maps.create(location, rows=reversed(PAIRS), grid=GRID, classes=["a", "b", "c"], exist_ok=True)
    assert again.definition == result.definition
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"rows": PAIRS[1:]}, "other rows"),
        ({"grid": (4, 3)}, r"grid \(3, 4\) instead of \(4, 3\)"),
        ({"fusion": "mean"}, "fusion 'max' instead of 'mean'"),
        ({"classes": []}, "classes"),
        ({"fusion": "sum"}, "use one of max, mean"),
        ({"grid": (0, 3)}, "each from 1"),
        ({"grid": (3,)}, "height, width"),
        ({"classes": ["a"]}, "class 2, but there are only 1 class names"),
        ({"shard_rows": 0}, "at least 1"),
        ({"rows": []}, "at least one row"),
    ]
    for change, text in wrong:
        given: dict[str, Any] = {"rows": PAIRS, "grid": GRID, "classes": ["a", "b", "c"], **change}
        with pytest.raises(StoreError, match=text):
            maps.create(location, exist_ok=True, **given)
    for uri in ("gs://bucket/x", "s3://bucket", "s3:///x", ""):
        with pytest.raises(StoreError, match="is not a location of a store"):
            maps.open(uri)


def test_a_file_system_without_hard_links_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ConditionsIgnoredError, match="has no hard links"):
        maps.create(str(tmp_path / "s"), rows=PAIRS, grid=GRID)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
