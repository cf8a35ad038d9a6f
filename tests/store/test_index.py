"""Rows by number and by name."""

from __future__ import annotations

import pickle
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.store import MapError
from attn.store.format.index import RowIndex

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(NAMES, st.integers(0, 2**31 - 1)), min_size=1, max_size=30, unique=True)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.randoms())
def test_rows_are_sorted_for_any_input_order(pairs: list[tuple[str, int]], random: Random) -> None:
    index = RowIndex.build(pairs)
    mixed = list(pairs)
    random.shuffle(mixed)
    assert RowIndex.build(iter(mixed)).encode() == index.encode()
    expected = sorted(pairs, key=lambda pair: (pair[0].encode(), pair[1]))
    assert list(index) == expected
    again = RowIndex.decode(index.encode())
    assert list(again) == expected
    assert again.digest == index.digest == pickle.loads(pickle.dumps(again)).digest
    for row, (image_id, class_index) in enumerate(expected):
        assert again.row(image_id, class_index) == row
        start, stop = again.find(image_id)
        assert expected[start:stop] == [pair for pair in expected if pair[0] == image_id]
    np.testing.assert_array_equal(again.numbers(mixed), [expected.index(pair) for pair in mixed])


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.integers(1, 12))
def test_shards_never_split_an_image(pairs: list[tuple[str, int]], rows_per_shard: int) -> None:
    index = RowIndex.build(pairs)
    shard_bounds = index.shard_bounds(rows_per_shard)
    assert (shard_bounds[0], shard_bounds[-1]) == (0, len(pairs))
    assert (np.diff(shard_bounds) > 0).all()
    assert set(shard_bounds) <= set(index.starts)
    most = max(np.diff(index.starts))
    assert np.diff(shard_bounds).max() < rows_per_shard + most


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "at least one row"),
        ([("a", 1), ("b", 0), ("a", 1)], "1 rows are given twice, the first one is 'a' class 1"),
        ([("", 1)], "id ''"),
        ([(3, 1)], "id 3"),
        ([("a", -1)], "class -1"),
        ([("a", 1.5)], "class 1.5"),
        ([("a", 2**31)], "class 2147483648"),
        ([("a\ud800", 1)], "surrogate"),
    ],
)
def test_invalid_rows_are_refused(rows: list[tuple[str, int]], text: str) -> None:
    with pytest.raises(MapError, match=text):
        RowIndex.build(rows)


def test_errors_for_unknown_rows_list_known_ones() -> None:
    index = RowIndex.build([("cat1", 7), ("cat1", 2), ("dog", 0)])
    with pytest.raises(MapError, match="'cat1' has no row for class 3 in the store; its classes are 2, 7"):
        index.row("cat1", 3)
    with pytest.raises(MapError, match="'cat' is not in the store, which has 2 images"):
        index.row("cat", 2)
    with pytest.raises(ValueError, match="not in the store"):
        index.numbers([("dog", 0), ("zebra", 0)])
    with pytest.raises(MapError, match=r"lie in \[0, 3\]; the store has rows 0 to 2"):
        index.numbers(np.array([0, 3]))
    with pytest.raises(MapError, match="float64"):
        index.numbers(np.array([0.0]))
    assert index.find("ca") == (0, 0)
    np.testing.assert_array_equal(index.numbers([2, 0]), [2, 0])


def test_a_big_index_needs_no_python_objects() -> None:
    pairs = [(f"n{number:08d}", index) for number in range(20_000) for index in (0, 5)]
    index = RowIndex.decode(RowIndex.build(pairs).encode())
    assert len(index) == 40_000
    assert index.row("n00012345", 5) == 2 * 12345 + 1
    assert index.pairs(np.array([24690])) == [("n00012345", 0)]
