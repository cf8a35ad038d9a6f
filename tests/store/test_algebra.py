"""Order, repetition and the number of writers cannot change what a store holds; what cannot be joined is refused.

Shapes: N rows, P pixels, h×w grid.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from attn.losses import fuse_mean
from attn.store import MapError
from attn.store.format.algebra import ACCEPTED, FUSIONS, NONE, join, pack_seen, quantise
from tests.store.model import GRID, PAIRS, Model, new_store

FLOATS = st.floats(0, 1, width=32)
MAPS = arrays.arrays(np.float32, GRID, elements=FLOATS)
BYTES = arrays.arrays(np.uint8, GRID)
SEEN = st.none() | arrays.arrays(np.bool_, GRID)
ADDED = st.tuples(st.sampled_from(PAIRS), BYTES, st.booleans(), SEEN)


@settings(deadline=None)
@given(MAPS, MAPS)
def test_rounding_commutes_with_the_join(first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(quantise(np.maximum(first, second)), np.maximum(quantise(first), quantise(second)))


@settings(deadline=None)
@given(MAPS, MAPS)
def test_flips_commute_with_rounding_and_join(first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
    flipped = np.maximum(quantise(first[:, ::-1]), quantise(second[:, ::-1]))
    np.testing.assert_array_equal(flipped[:, ::-1], np.maximum(quantise(first), quantise(second)))


def test_rounding_is_to_the_nearest_integer_halves_to_even() -> None:
    exact = np.arange(256) / 255
    np.testing.assert_array_equal(quantise(exact), np.arange(256))
    for dtype in (np.float16, np.float32, np.float64):
        values = np.linspace(0, 1, 4001).astype(dtype)
        expected = np.rint(values.astype(np.float32 if dtype == np.float16 else dtype) * 255)
        np.testing.assert_array_equal(quantise(values), expected)
    np.testing.assert_array_equal(quantise(np.array([0.5 / 255, 1.5 / 255, 1 + 9e-7, -9e-7])), [0, 2, 255, 0])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5, np.nan], "NaN or infinity"),
        ([0.5, np.inf], "NaN or infinity"),
        ([0.5, -np.inf], "NaN or infinity"),
        ([0.5, 1.01], r"lie in \[0.5, 1.01\]"),
        ([-0.01, 0.5], r"lie in \[-0.01, 0.5\]"),
        ([0, 1], "int64"),
        ([False, True], "bool"),
        ([1j, 0], "complex128"),
    ],
)
def test_invalid_maps_are_refused(values: list[float], text: str) -> None:
    with pytest.raises(MapError, match=text):
        quantise(np.array(values))
    with pytest.raises(ValueError):
        quantise(np.array(values))
    assert quantise(np.zeros((0, 3), np.float32)).shape == (0, 3)


def reference_join(level: int, old: NDArray[np.uint8], new_level: int, new: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if new_level == level:
        return np.maximum(old, new)
    return new if new_level > level else old


@settings(deadline=None)
@given(st.data())
def test_join_is_the_lexicographic_join(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    states = arrays.arrays(np.uint8, count, elements=st.integers(0, 2))
    pixels = arrays.arrays(np.uint8, (count, 3))
    levels, new_levels = data.draw(states), data.draw(states)
    # A row on level NONE holds zeros.
    maps = data.draw(pixels) * (levels != NONE)[:, None].astype(np.uint8)
    new = data.draw(pixels) * (new_levels != NONE)[:, None].astype(np.uint8)
    at = np.array(data.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1)))
    expected = maps.copy()
    for index, row in enumerate(at):
        expected[row] = reference_join(levels[row], maps[row], new_levels[index], new[index])
    rows = {"level": levels.copy(), "map": maps.copy()}
    added = {"level": new_levels[: len(at)], "map": new[: len(at)]}
    for _ in range(2):  # the second time changes nothing
        join(rows, at, added)
        np.testing.assert_array_equal(rows["map"], expected)


Added = list[tuple[tuple[str, int], NDArray[np.uint8], bool, NDArray[np.bool_] | None]]


def digest_of(fusion: str, epochs: list[list[Added]]) -> str:
    """The digest after what each writer got in each epoch was committed, in that order."""
    store, model = new_store(fusion), Model(fusion)
    session = store.begin("run")
    for epoch, writers in enumerate(epochs):
        refs = []
        for rank, added in enumerate(writers):
            writer = session.writer(rank)
            for (image_id, index), new, fallback, seen in added:
                writer.add(image_id, index, new, seen_hw=seen, fallback=fallback)
                model.add((image_id, index), epoch, new, seen=seen, fallback=fallback)
            refs.append(writer.seal())
        session.commit(epoch, refs)
    model.check(store.at(), store)
    return store.at().digest()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["max", "mean"]), st.lists(ADDED, max_size=25), st.data())
def test_order_repetition_and_partition_change_nothing(fusion: str, added: Added, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(added)))
    plain = digest_of(fusion, [[added[:cut]], [added[cut:]]])
    epochs = []
    for part in (added[:cut], added[cut:]):
        again = part + data.draw(st.lists(st.sampled_from(part), max_size=5)) if part else part
        mixed = data.draw(st.permutations(again))
        world = data.draw(st.sampled_from([1, 2, 3, 8]))
        epochs.append([mixed[rank::world] for rank in range(world)])
    other = digest_of(fusion, epochs)
    assert plain == other


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["max", "mean"]), st.lists(ADDED, min_size=1, max_size=20), st.data())
def test_seals_within_an_epoch_and_retries_change_nothing(fusion: str, added: Added, data: st.DataObject) -> None:
    plain = digest_of(fusion, [[added], [added]])
    store = new_store(fusion)
    session = store.begin("run")
    taken = []
    for epoch in (0, 1):
        limit = data.draw(st.sampled_from([None, 1, 3 * GRID[0] * GRID[1]]))
        writer = session.writer(0, limit_bytes=limit)
        refs = []
        for (image_id, index), new, fallback, seen in added:
            writer.add(image_id, index, new, seen_hw=seen, fallback=fallback)
            if data.draw(st.booleans()):
                refs.append(writer.seal())
        # A retried step seals the same maps anew, and a retried report names the same delta twice.
        for (image_id, index), new, fallback, seen in added[: data.draw(st.integers(0, len(added)))]:
            writer.add(image_id, index, new, seen_hw=seen, fallback=fallback)
        refs += [writer.seal(), writer.seal()]
        taken += refs
        if data.draw(st.booleans()):
            session.commit(epoch, refs, pending=True)
        session.commit(epoch, data.draw(st.permutations(refs + refs)))
        session.commit(epoch, taken)
    assert store.at().digest() == plain


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.data())
def test_the_mean_is_that_of_equation_10(epochs: int, data: st.DataObject) -> None:
    """Each pixel has its own t, which counts the maps that saw it; what was not seen stays as it was."""
    maps_TP = data.draw(arrays.arrays(np.float64, (epochs, 5), elements=st.floats(0, 1)))
    seen_TP = data.draw(arrays.arrays(np.bool_, (epochs, 5)))
    fusion = FUSIONS["mean"]
    rows = fusion.empty(1, 5)
    mean, t = torch.zeros(1, 5, dtype=torch.float64), torch.zeros(1, 5, dtype=torch.int64)
    for epoch, (new, seen) in enumerate(zip(maps_TP, seen_TP, strict=True)):
        seen_1P = torch.from_numpy(seen)[None]
        t += seen_1P
        mean = torch.where(seen_1P, fuse_mean(mean, torch.from_numpy(new)[None], t.clamp(min=1)), mean)
        level, added = np.array([ACCEPTED], np.uint8), quantise(new[None]) * seen[None]
        for _ in range(2):  # the second time changes nothing
            fusion.join(rows, np.array([0]), {"level": level, "map": added, "seen": pack_seen(seen[None])}, epoch)
    np.testing.assert_array_equal(rows["count"], t.numpy())
    values = np.ma.masked_array(quantise(maps_TP), ~seen_TP).astype(np.float64)
    exact = np.rint(values.mean(0).filled(0))
    np.testing.assert_array_equal(fusion.maps(rows)[0], exact)
    np.testing.assert_allclose(exact / 255, mean.numpy()[0], atol=1.001 / 255)


def test_a_mean_needs_epochs_in_order_and_limits_their_number() -> None:
    fusion = FUSIONS["mean"]
    rows = fusion.empty(1, 2)
    at, new, seen = np.array([0]), np.zeros((1, 2), np.uint8), pack_seen(np.ones((1, 2), np.bool_))
    added = {"level": np.array([ACCEPTED], np.uint8), "map": new, "seen": seen}
    fusion.join(rows, at, added, 3)
    with pytest.raises(MapError, match="are of epoch 2, but epoch 3 is already merged"):
        fusion.join(rows, at, added, 2)
    fusion.join(rows, at, added, 65534)
    with pytest.raises(MapError, match="at most 65535 epochs"):
        fusion.join(rows, at, added, 65535)
