"""Stores of large maps, whose shards have several record batches of few rows each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attn import store as maps
from attn.store import MapError, MapStore
from attn.store.cache import CACHE
from attn.store.format import codec
from attn.store.format.algebra import FUSIONS, Columns
from attn.store.format.codec import arrow_schema, encode, rows_per_batch, stream
from tests.store.memory import MemoryBackend

Maps = NDArray[np.uint8]
EPOCHS = 2


@contextmanager
def earlier_writer(before: int = 0) -> Iterator[None]:
    """Write batches as Arrow writes slices of longer ones, with bytes of the neighbouring rows behind a buffer's end.

    Args:
        before: Rows of the longer batch before the slice.
    """
    whole = codec._batch

    def sliced(rows: Columns, schema: pa.Schema) -> pa.RecordBatch:
        noise = np.random.default_rng(0)
        wide: Columns = {}
        for name, values in rows.items():
            beside = noise.integers(1, 3, (before + 64, *values.shape[1:])).astype(values.dtype)
            wide[name] = np.concatenate([beside[:before], values, beside[before:]])
        return whole(wide, schema).slice(before, len(rows["level"]))

    with mock.patch.object(codec, "_batch", sliced):
        yield


def pairs_of(count: int) -> list[tuple[str, int]]:
    """Rows of images with one to three classes."""
    return [(f"i{number // 3:04d}", number % 3) for number in range(count)]


def filled(place: str | MemoryBackend, count: int, grid: tuple[int, int], fusion: str) -> tuple[MapStore, Maps]:
    """A store to which two writers gave random maps in two epochs, and the maps that it must have."""
    noise = np.random.default_rng(count)
    store = maps.create(place, rows=pairs_of(count), grid=grid, fusion=fusion)
    new = noise.integers(0, 256, (EPOCHS, count, *grid), dtype=np.uint8)
    session = store.begin("run")
    for epoch in range(EPOCHS):
        deltas = []
        for rank in range(min(2, count)):
            writer = session.writer(rank)
            writer.add_many(np.arange(rank, count, 2), new[epoch, rank::2])
            deltas.append(writer.seal())
        session.commit(epoch, deltas, expected=count)
    return store, new.max(0) if fusion == "max" else np.rint(new.mean(0)).astype(np.uint8)


@given(
    sides=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    count=st.integers(1, 150),
    fusion=st.sampled_from(["max", "mean"]),
    earlier=st.sampled_from([None, 0, 5]),
    data=st.data(),
)
@example(sides=(81, 81), count=17, fusion="max", earlier=None, data=None)
@example(sides=(81, 81), count=195, fusion="max", earlier=None, data=None)  # the rest after a stripe of 144 rows
@example(sides=(41, 41), count=16, fusion="mean", earlier=None, data=None)
@example(sides=(128, 128), count=130, fusion="max", earlier=None, data=None)
@example(sides=(400, 400), count=3, fusion="max", earlier=None, data=None)  # a row is more than a batch should be
@settings(max_examples=15, deadline=None)
def test_maps_of_any_size_and_number_are_read_back(
    sides: tuple[int, int], count: int, fusion: str, earlier: int | None, data: st.DataObject | None
) -> None:
    backend = MemoryBackend()
    if earlier is None:
        store, truth = filled(backend, count, sides, fusion)
    else:
        with earlier_writer(earlier):
            store, truth = filled(backend, count, sides, fusion)
    snapshot = store.at()
    np.testing.assert_array_equal(snapshot.rows(0, count)[1], truth)
    np.testing.assert_array_equal(np.concatenate([part for _, _, part in snapshot.shards()]), truth)
    for _ in range(3):
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, count)] * 2))) if data else (count // 3, count)
        np.testing.assert_array_equal(store.at().rows(start, stop)[1], truth[start:stop])
    for row in (0, count // 2, count):
        assert [part.shape for part in store.at().rows(row, row)] == [(0,), (0, *sides)]
    for start, stop in ((-1, count), (0, count + 1), (count + 1, count + 1), (1, 0)):
        with pytest.raises(MapError, match=f"rows {start} to {stop} do not exist"):
            snapshot.rows(start, stop)
    for number, (image_id, index) in enumerate(pairs_of(count)[:6]):
        np.testing.assert_array_equal(snapshot[image_id].get(index, np.zeros(sides)), truth[number])
    assert store.verify().faults == []


@pytest.mark.parametrize("fusion", ["max", "mean"])
@pytest.mark.parametrize("before", [0, 5])
def test_a_store_of_an_earlier_version_goes_on_as_if_it_were_written_now(fusion: str, before: int) -> None:
    count, grid = 51, (81, 60)
    with earlier_writer(before):
        earlier, _ = filled(MemoryBackend(), count, grid, fusion)
    today, _ = filled(MemoryBackend(), count, grid, fusion)
    assert earlier.at().digest() == today.at().digest()
    for store in (earlier, today):
        session = store.begin("run", from_version=store.at().version)
        writer = session.writer(0)
        writer.add_many(np.arange(7), np.full((7, *grid), 200, np.uint8))
        session.commit(EPOCHS, [writer.seal()])
    assert earlier.at().digest() == today.at().digest()
    np.testing.assert_array_equal(earlier.at().rows(0, count)[1], today.at().rows(0, count)[1])
    assert earlier.verify().ok


def test_large_maps_in_an_object_store_are_read_by_ranges_and_from_the_cache(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, truth = filled(f"{s3_server}/large", 51, (81, 81), "max")
    with earlier_writer():
        earlier, _ = filled(f"{s3_server}/earlier", 51, (81, 81), "max")
    for one in (store, earlier):
        np.testing.assert_array_equal(one.at().rows(20, 40)[1], truth[20:40])
        assert one.verify().ok
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    np.testing.assert_array_equal(maps.open(earlier.uri).at().rows(15, 17)[1], truth[15:17])
    assert store.export(str(tmp_path / "maps.npz"), form="npz") == 51
    with np.load(tmp_path / "maps.npz") as file:
        np.testing.assert_array_equal(file["maps"], truth)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_a_batch_has_the_bytes_of_its_rows_and_no_others(fusion: str, compress: bool) -> None:
    algebra, grid = FUSIONS[fusion], (81, 81)
    schema = arrow_schema(algebra.kept, fusion, grid)
    batch = rows_per_batch(schema)
    rows = algebra.empty(batch + 1, grid[0] * grid[1])

    def written() -> memoryview:
        encoded = encode([rows], schema, batches=2, rows=batch + 1, batch=batch, compress=compress, table=True)
        return encoded.data[encoded.ends[0] : encoded.ends[-1]]

    exact = [sum(array.nbytes for array in part.values()) for part in stream(written(), schema, batch + 1)]
    claims = [codec.batch_claims(message) for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(written()))]
    assert claims == [(batch, exact[0]), (1, exact[1])]
