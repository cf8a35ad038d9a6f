"""Draws of images for extra supervision, in each epoch and over many."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.data.sampler import BatchSampler, Key, for_labels_alone


def draws(sampler: BatchSampler, epoch: int) -> tuple[list[Key], list[Key]]:
    """An epoch's keys of draws for labels, and for extra supervision, of a data set that is supervised as a whole."""
    sampler.set_epoch(epoch)
    keys = [key for batch in sampler for key in batch]
    assert len(set(keys)) == len(keys), "each draw is augmented anew"
    return [key for key in keys if for_labels_alone(key)], [key for key in keys if not for_labels_alone(key)]


@pytest.mark.parametrize(
    ("count", "batch", "fraction", "batches"),
    [(96, 16, 0.25, 8), (800, 1, 0.25, 1067), (96, 1, 1.0, 192), (96, 4, 0.9, 48), (96, 16, 1.0, 12), (3, 1, 0.1, 4)],
)
def test_all_images_with_masks_are_classified_once_an_epoch(
    count: int, batch: int, fraction: float, batches: int
) -> None:
    sampler = BatchSampler(count, batch, supervised=range(count), batch_fraction=fraction)
    labels, extra = draws(sampler, 0)
    assert sorted(key[1] for key in labels) == list(range(count))
    assert len(sampler) == batches
    assert len(extra) == batches * batch - count


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.floats(0.01, 1), st.integers(0, 100), st.integers(0, 3))
def test_all_masks_are_drawn_equally_often_over_the_epochs(
    count: int, batch: int, fraction: float, seed: int, first: int
) -> None:
    sampler = BatchSampler(
        count, batch, seed=seed, supervised=range(count), batch_fraction=fraction, supervised_from=first
    )
    sampler.set_epoch(first)
    size = sum(not for_labels_alone(key) for rows in sampler for key in rows)
    cycle = -(-count // size)
    seen: Counter[int] = Counter()
    for epoch in range(first, first + cycle):
        sampler.set_epoch(epoch)
        extra = [key for rows in sampler for key in rows if not for_labels_alone(key)]
        assert len(extra) == len(set(extra)) == size
        seen.update(key[1] for key in extra)
    assert set(seen) == set(range(count))
    assert max(seen.values()) - min(seen.values()) <= 1


@pytest.mark.parametrize("batch", [1, 4])
def test_epochs_before_the_first_have_all_images_for_their_labels(batch: int) -> None:
    sampler = BatchSampler(12, batch, supervised=range(12), batch_fraction=0.25, supervised_from=2)
    for epoch in range(2):
        labels, extra = draws(sampler, epoch)
        assert (len(labels), len(set(labels)), extra) == (12, 12, [])
        assert sampler.batches_in(epoch) == 12 // batch
    assert sampler.batches_in(2) == (16 if batch == 1 else 4)
    assert len(draws(sampler, 2)[1]) == 4
