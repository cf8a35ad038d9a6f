"""Properties of batches for all numbers of images, workers and supervised images."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attn.data.sample import Record
from attn.data.sampler import BatchSampler, Key, choose_supervised, for_labels_alone, shards
from attn.errors import ConfigError, DataError

BOX = (0.0, 0.0, 1.0, 1.0)
counts = st.integers(1, 60)
seeds = st.integers(0, 1000)


def joint(samplers: list[BatchSampler], epoch: int) -> list[list[Key]]:
    """The global batches in their global order."""
    for sampler in samplers:
        sampler.set_epoch(epoch)
    world = len(samplers)
    steps = [list(sampler) for sampler in samplers]
    return [
        [steps[row % world][step][row // world] for row in range(world * len(steps[0][step]))]
        for step in range(len(steps[0]))
    ]


@settings(max_examples=100, deadline=None)
@given(counts, st.integers(1, 9), st.integers(1, 4), seeds, st.integers(0, 5), st.booleans())
def test_every_image_every_epoch_in_batches_of_one_size(
    count: int, batch: int, world: int, seed: int, epoch: int, shuffle: bool
) -> None:
    samplers = [BatchSampler(count, batch, rank=r, world=world, seed=seed, shuffle=shuffle) for r in range(world)]
    batches = joint(samplers, epoch)
    assert {len(rows) for rows in batches} == {batch * world}
    assert len(batches) == len(samplers[0]) == -(-count // (batch * world))
    seen = Counter(index for rows in batches for _, index in rows)
    assert set(seen) == set(range(count))
    assert max(seen.values()) - min(seen.values()) <= 1
    assert {key[0] for rows in batches for key in rows} == {epoch}


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(1, 4), seeds, st.integers(0, 3), st.integers(0, 30), st.data())
def test_the_global_batch_does_not_depend_on_the_workers(
    count: int, quarter: int, seed: int, epoch: int, supervised: int, data: st.DataObject
) -> None:
    own = data.draw(st.sets(st.integers(0, count - 1), max_size=supervised))
    size = 16 * quarter  # a quarter of a worker's batch is whole for 1, 2 and 4 workers

    def batches(world: int) -> list[list[Key]]:
        return joint(
            [
                BatchSampler(
                    count, size // world, rank=r, world=world, seed=seed, supervised=sorted(own), batch_fraction=0.25
                )
                for r in range(world)
            ],
            epoch,
        )

    assert batches(1) == batches(2) == batches(4)


@settings(max_examples=100, deadline=None)
@given(counts, st.integers(2, 9), st.integers(1, 3), st.floats(0.01, 0.99), seeds, st.data())
def test_supervised_share(count: int, batch: int, world: int, fraction: float, seed: int, data: st.DataObject) -> None:
    own = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    rows = max(1, round(fraction * batch))
    assume(rows < batch)
    seen: Counter[int] = Counter()
    keys: Counter[Key] = Counter()
    for rank in range(world):
        sampler = BatchSampler(
            count, batch, rank=rank, world=world, seed=seed, supervised=sorted(own), batch_fraction=fraction
        )
        for local in sampler:
            assert len(local) == batch
            extra = [key for key in local if key[1] in own and not for_labels_alone(key)]
            assert len(extra) == rows
            seen.update(key[1] for key in local if key not in extra)
            keys.update(extra)
    assert_once_each(seen, count, (batch - rows) * world)
    assert set(keys.values()) == {1}  # each repetition draws its own augmentation


def assert_once_each(seen: Counter[int], count: int, rows: int) -> None:
    """Classification sees all images once, supervised ones among them, in whole batches of some rows."""
    assert set(seen) == set(range(count))
    assert max(seen.values()) - min(seen.values()) <= 1
    assert seen.total() == -(-count // rows) * rows


@settings(max_examples=100, deadline=None)
@given(counts, st.integers(1, 3), st.floats(0.01, 1), seeds, st.data())
def test_supervised_share_of_batches_of_one(
    count: int, world: int, fraction: float, seed: int, data: st.DataObject
) -> None:
    own = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    period = max(2, round(1 / fraction))
    seen: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
    for rank in range(world):
        sampler = BatchSampler(
            count, 1, rank=rank, world=world, seed=seed, supervised=sorted(own), batch_fraction=fraction
        )
        batches = list(sampler)
        assert len(batches) == len(sampler)
        for position, (key,) in enumerate(batches, start=1):
            extra = key[1] in own and not for_labels_alone(key)
            assert extra == (position % period == 0 or position == len(batches))
            seen[extra][key[1]] += 1
        sampler.start(len(batches) // 2)
        assert list(sampler) == batches[len(batches) // 2 :]
    assert_once_each(seen[False], count, world)
    assert set(seen[True]) <= own


@settings(max_examples=50, deadline=None)
@given(counts, st.integers(1, 5), seeds, st.data())
def test_start_continues_an_epoch(count: int, batch: int, seed: int, data: st.DataObject) -> None:
    sampler = BatchSampler(count, batch, seed=seed)
    sampler.set_epoch(3)
    whole = list(sampler)
    first = data.draw(st.integers(0, len(sampler)))
    sampler.start(first)
    assert list(sampler) == whole[first:]
    assert list(sampler) == whole
    assert len(sampler) == len(whole)


def test_epochs_and_seeds_differ() -> None:
    sampler = BatchSampler(50, 50, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append([index for _, index in next(iter(sampler))])
    other = [index for _, index in next(iter(BatchSampler(50, 50, seed=2)))]
    assert len({tuple(order) for order in [*orders, other]}) == 4
    assert [index for _, index in next(iter(BatchSampler(5, 5, shuffle=False)))] == [0, 1, 2, 3, 4]


def test_faults() -> None:
    with pytest.raises(ConfigError, match="cannot contain 2 images with extra supervision"):
        BatchSampler(10, 2, supervised=[1, 2], batch_fraction=0.9)
    with pytest.raises(ConfigError, match="cannot contain 1 images with extra supervision"):
        BatchSampler(10, 1, supervised=[1, 2])
    with pytest.raises(ValueError, match="out of range"):
        BatchSampler(10, 2, rank=2, world=2)
    with pytest.raises(ValueError, match="supervised images"):
        BatchSampler(10, 2, supervised=[10])
    with pytest.raises(ValueError, match="not in an epoch"):
        BatchSampler(10, 2).start(6)


@given(st.integers(0, 50), st.integers(1, 7), st.integers(1, 4))
def test_shards_are_a_partition(count: int, batch: int, world: int) -> None:
    parts = [shards(count, batch, rank=rank, world=world) for rank in range(world)]
    assert sorted(index for part in parts for rows in part for index in rows) == list(range(count))


def records(*labels: tuple[int, ...]) -> list[Record]:
    return [Record(f"i{number:03d}", own, mask="m") for number, own in enumerate(labels)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.data())
def test_chosen_images_are_spread_over_single_classes(labels: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, len(labels)))
    given_records = records(*((label,) for label in labels))
    chosen = choose_supervised(given_records, wanted, "masks", 7)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == wanted
    assert chosen == choose_supervised(given_records, wanted, "masks", 7)
    there, held = Counter(labels), Counter(labels[index] for index in chosen)
    for low in there:  # a class has fewer than another only where it has no more images
        assert held[low] == there[low] or all(held[low] >= held[high] - 1 for high in there)


def test_choice_by_share_kind_and_want() -> None:
    plain = records((0,), (1,), (0, 1), ())
    assert len(choose_supervised(plain, 0.5, "masks", 0)) == 2
    assert 3 not in choose_supervised(plain, 3, "masks", 0)
    with pytest.raises(DataError, match="only 3 of 4"):
        choose_supervised(plain, 4, "masks", 0)
    boxed = [Record("a", (0,), boxes=((0, (0, 0, 1, 1)),)), Record("b", (0,)), Record("c", (0,), boxes=((1, BOX),))]
    assert choose_supervised(boxed, 1, "boxes", 0) == [0]
    with pytest.raises(DataError, match="needs 2 images with boxes, but only 1 of 3"):  # c has none of its label
        choose_supervised(boxed, 2, "boxes", 0)
    with pytest.raises(DataError, match="only 0 of 3"):
        choose_supervised(boxed, 1, "masks", 0)


@pytest.mark.parametrize("choice", ["balanced", "random"])
def test_masks_are_drawn_from_a_list_of_images(choice: Literal["balanced", "random"]) -> None:
    many = records(*[(0,)] * 30, *[(1,)] * 30)
    listed = {f"i{index:03d}" for index in (3, 8, 13, 40, 41, 59)} | {"elsewhere"}
    draws = [choose_supervised(many, 2, "masks", seed, choice=choice, among=listed) for seed in range(20)]
    assert {index for drawn in draws for index in drawn} == {3, 8, 13, 40, 41, 59}
    assert choose_supervised(many, 6, "masks", 0, choice=choice, among=listed) == [3, 8, 13, 40, 41, 59]
    with pytest.raises(DataError, match="needs 7 images with masks, but only 6 of 6 in method.extra_list have labels"):
        choose_supervised(many, 7, "masks", 0, choice=choice, among=listed)
    with pytest.raises(DataError, match="method.extra_list names 1 image, such as 'elsewhere', and none of the 60"):
        choose_supervised(many, 1, "masks", 0, choice=choice, among={"elsewhere"})


def test_images_with_masks_are_drawn_at_random_or_named() -> None:
    """Nine of ten images show class 0: uniform draws do, too, and balanced ones show both classes alike."""
    many = records(*[(0,)] * 90, *[(1,)] * 10)
    rare = [
        sum(index >= 90 for seed in range(40) for index in choose_supervised(many, 10, "masks", seed, choice=choice))
        for choice in ("random", "balanced")
    ]
    assert 20 <= rare[0] <= 60
    assert rare[1] == 200
    drawn = choose_supervised(many, 10, "masks", 3, choice="random")
    assert drawn == sorted(set(drawn)) == choose_supervised(many, 10, "masks", 3, choice="random")
    assert len(drawn) == 10
    assert choose_supervised(many, 200, "masks", 0, ids=["i007", "i003", "i007"]) == [3, 7]
    mixed = [*records((0,), (1,)), Record("bare", (0,)), Record("none", (), mask="m")]
    for name, reason in (
        ("bare", "has no masks or no labels"),
        ("none", "has no masks"),
        ("other", "not in the split, whose ids are such as 'i000'"),
    ):
        with pytest.raises(DataError, match=f"1 of the 2 images named for masks cannot be used: '{name}' .*{reason}"):
            choose_supervised(mixed, 1, "masks", 0, ids=["i000", name])


label_sets = st.lists(st.sets(st.integers(0, 5), max_size=3).map(lambda s: tuple(sorted(s))), min_size=1, max_size=40)


def balanced(
    labels: list[tuple[int, ...]], size: int, world: int, seed: int, *, shuffle: bool = True
) -> list[BatchSampler]:
    return [
        BatchSampler(len(labels), size // world, rank=r, world=world, seed=seed, shuffle=shuffle, labels=labels)
        for r in range(world)
    ]


@settings(max_examples=100, deadline=None)
@given(label_sets, st.integers(1, 4), seeds, st.integers(0, 3), st.booleans())
def test_balanced_draws_are_those_of_any_number_of_workers_and_as_many(
    labels: list[tuple[int, ...]], quarter: int, seed: int, epoch: int, shuffle: bool
) -> None:
    size = 4 * quarter
    one, two, four = (joint(balanced(labels, size, world, seed, shuffle=shuffle), epoch) for world in (1, 2, 4))
    assert one == two == four
    assert len(one) == -(-len(labels) // size)
    assert {len(rows) for rows in one} == {size}
    keys = [key for rows in one for key in rows]
    assert len(set(keys)) == len(keys), "a repetition has a key of its own, so that it is augmented anew"


@settings(max_examples=100, deadline=None)
@given(label_sets, st.integers(1, 8), seeds, st.integers(0, 3))
def test_balanced_draws_can_be_explained_by_rounds_of_classes(
    labels: list[tuple[int, ...]], size: int, seed: int, epoch: int
) -> None:
    """In any rounds of K draws there is one draw of each class: so each class has an image there for each round."""
    (sampler,) = balanced(labels, size, 1, seed)
    drawn = [key[1] for rows in joint([sampler], epoch) for key in rows]
    kinds = sorted({label for own in labels for label in own or (-1,)})
    whole = len(drawn) // len(kinds)
    for number in range(whole):
        images = drawn[number * len(kinds) : (number + 1) * len(kinds)]
        # A perfect matching of classes and images exists: Hall's condition on every set of classes is too much to
        # check, so the classes are matched one by one.
        matched: dict[int, int] = {}

        def place(kind: int, seen: set[int], images: list[int] = images, matched: dict[int, int] = matched) -> bool:
            for position, image in enumerate(images):
                if kind in (labels[image] or (-1,)) and position not in seen:
                    seen.add(position)
                    if position not in matched or place(matched[position], seen):
                        matched[position] = kind
                        return True
            return False

        assert all(place(kind, set()) for kind in kinds)


def test_the_share_of_an_image_is_that_of_the_formula() -> None:
    labels = [(0,)] * 30 + [(1,)] * 6 + [(0, 1)] * 2 + [(2,)] + [()] * 3
    counts = Counter(label for own in labels for label in own or (-1,))
    expected = [sum(1 / (len(counts) * counts[label]) for label in own or (-1,)) for own in labels]
    (sampler,) = balanced(labels, 6, 1, 5)
    drawn = Counter(key[1] for epoch in range(2000) for rows in joint([sampler], epoch) for key in rows)
    shares = [drawn[index] / drawn.total() for index in range(len(labels))]
    assert shares == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("start", [0, 1, 3])
def test_balanced_draws_go_on_in_mid_epoch(start: int) -> None:
    (sampler,) = balanced([(0,)] * 20 + [(1,), (0, 1)], 4, 1, 2)
    sampler.set_epoch(1)
    whole = list(sampler)
    sampler.start(start)
    assert list(sampler) == whole[start:]


def test_images_with_extra_supervision_are_drawn_as_before() -> None:
    labels = [(0,)] * 12 + [(1,)] * 4
    options: dict[str, Any] = {"supervised": [0, 1, 12], "batch_fraction": 0.25}
    with_labels, without = (BatchSampler(16, 4, labels=given, **options) for given in (labels, None))
    for balanced_rows, rows in zip(*(joint([one], 2) for one in (with_labels, without)), strict=True):
        extra = [
            [key for key in kind if key[1] in (0, 1, 12) and not for_labels_alone(key)]
            for kind in (rows, balanced_rows)
        ]
        assert extra[0] == extra[1] != []
