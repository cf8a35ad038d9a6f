"""Chooses the images of each batch, independent of the number of workers and of the batch that training resumes from.

A global batch depends only on the seed and the epoch; worker r of n takes its rows r, r + n, r + 2n, ... All batches
have the same size, so the mean over workers is the mean over the global batch.
"""

from __future__ import annotations

__all__ = ["BatchSampler", "Key", "choose_supervised", "for_labels_alone", "shards"]

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from attn.data.sample import Record
from attn.errors import ConfigError, DataError
from attn.wording import counted

Key = tuple[int, ...]
"""(epoch, index), or (epoch, index, n) for the n-th repetition within an epoch; the seed of augmentation.

A draw of a supervised image for its labels alone is (epoch, index, n, 1), from n = 0 on; see `for_labels_alone`.
"""

_PLAIN, _SUPERVISED, _CHOICE, _BALANCED = 0, 1, 2, 3
_NO_LABEL = -1
_FOR_LABELS = 1


class BatchSampler(Sampler[list[Key]]):
    """One worker's batches of an epoch.

    An epoch contains every image once; its last batch is filled up with the epoch's first images.

    If some images have extra supervision, they are drawn for it apart: every local batch has exactly
    max(1, round(batch_fraction · batch_size)) such draws, from a separately shuffled cycle; the rest are draws of all
    images, these among them. The global batch is then the same for every number of workers for which
    `batch_fraction · batch_size` is whole. With batches of one image, every max(2, round(1 / batch_fraction))-th global
    batch has only draws for extra supervision, and the last one of an epoch. Where all images are supervised, and the
    fraction leaves no row of a batch for their labels, half of the rows are for these.

    These draws do not make an epoch longer than its images need. If an epoch has fewer of them than there are images
    with extra supervision, the cycle goes on in the next epochs until all are drawn.

    With `labels` these draws of all images are such that classes occur equally often, and an epoch has as many as
    without. A draw takes a class, then one of its images. Classes come in rounds, each of them once a round in random
    order, and so do the images of a class: with K classes, n_c images of class c and L the labels of an image, its
    share of the draws is the sum over c in L of 1 / (K n_c). Images without labels are a class of their own.

    Args:
        count: Number of images in the data set.
        batch_size: Images per batch of one worker.
        supervised: Indices of the images with extra supervision.
        batch_fraction: Share of each batch that is drawn for extra supervision.
        supervised_from: The first epoch with such draws. The ones before have all images for their labels alone.
        labels: Of every image, for balanced classes; None: each image once.

    Raises:
        ConfigError: A batch is too small for both kinds of draws.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        supervised: Sequence[int] = (),
        batch_fraction: float = 0.0,
        supervised_from: int = 0,
        labels: Sequence[Sequence[int]] | None = None,
    ) -> None:
        if count < 1 or batch_size < 1 or not 0 <= rank < world:
            raise ValueError(f"count={count}, batch_size={batch_size}, rank={rank}, world={world}: out of range")
        own = sorted(set(supervised))
        if own and not 0 <= own[0] <= own[-1] < count:
            raise ValueError(f"supervised images must lie in [0, {count}); got {own[0]} to {own[-1]}")
        self.rank, self.world, self.seed, self.shuffle = rank, world, seed, shuffle
        self._supervised = np.array(own, dtype=np.int64)
        self._own, self._plain = frozenset(own), np.arange(count)
        self._groups = None if labels is None else _by_class(self._plain, labels)
        self._rows = batch_size * world
        self._supervised_from = supervised_from
        if batch_size == 1 and own and batch_fraction > 0:
            self._period, self._supervised_rows = max(2, round(1 / batch_fraction)), world
        else:
            rows = _supervised_rows(batch_size, batch_fraction, all_are=len(own) == count) if own else 0
            self._period, self._supervised_rows = 1, rows * world
        self._epoch = self._first = 0

    def __len__(self) -> int:
        """Number of batches of the epoch that is set."""
        return self.batches_in(self._epoch)

    def batches_in(self, epoch: int) -> int:
        """Number of batches of a whole epoch."""
        return len(self._supervised_rows_in(epoch))

    def __iter__(self) -> Iterator[list[Key]]:
        first, self._first = self._first, 0
        supervised_rows = self._supervised_rows_in(self._epoch)
        supervised = self._supervised_keys(sum(supervised_rows))
        plain = self._plain_keys(self._rows * len(supervised_rows) - len(supervised))
        begins = [0, *accumulate(supervised_rows)]
        for batch in range(first, len(supervised_rows)):
            begin, end = begins[batch], begins[batch + 1]
            rows = supervised[begin:end] + plain[batch * self._rows - begin : (batch + 1) * self._rows - end]
            yield rows[self.rank :: self.world]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch, self._first = epoch, 0

    def start(self, batch: int) -> None:
        """Let only the next iteration start at this batch of its epoch."""
        if not 0 <= batch <= len(self):
            raise ValueError(f"batch {batch} is not in an epoch of {len(self)}")
        self._first = batch

    def _supervised_rows_in(self, epoch: int) -> list[int]:
        """Number of an epoch's draws for extra supervision, by global batch."""
        images = len(self._plain)
        if not self._supervised_rows or epoch < self._supervised_from:
            return [0] * -(-images // self._rows)
        if self._period == 1:
            return [self._supervised_rows] * -(-images // (self._rows - self._supervised_rows))
        labelled = -(-images // self._rows)
        rows = [0] * (labelled + -(-labelled // (self._period - 1)))
        for batch in (*range(self._period - 1, len(rows), self._period), len(rows) - 1):
            rows[batch] = self._supervised_rows
        return rows

    def _plain_keys(self, total: int) -> list[Key]:
        """Keys of the epoch's draws of all images."""
        if self._groups:
            return self._balanced_keys(self._groups, total)
        order = self._order(self._plain, self._epoch, _PLAIN, 0)
        return [self._plain_key(int(index), 0) for index in np.resize(order, total)]

    def _supervised_keys(self, total: int) -> list[Key]:
        """Keys of the epoch's draws for extra supervision, of a cycle that is new as soon as all are drawn."""
        if not total:
            return []
        count = len(self._supervised)
        cycle, part = divmod(self._epoch - self._supervised_from, -(-count // total))
        orders: dict[int, np.ndarray] = {}
        keys: list[Key] = []
        for draw in range(part * total, (part + 1) * total):
            turn, place = divmod(draw, count)
            if turn not in orders:
                orders[turn] = self._order(self._supervised, cycle + self._supervised_from, _SUPERVISED, turn)
            index = int(orders[turn][place])
            keys.append((self._epoch, index, turn) if turn else (self._epoch, index))
        return keys

    def _plain_key(self, index: int, repeat: int) -> Key:
        if index in self._own:
            return (self._epoch, index, repeat, _FOR_LABELS)
        return (self._epoch, index, repeat) if repeat else (self._epoch, index)

    def _balanced_keys(self, groups: list[np.ndarray], total: int) -> list[Key]:
        rounds = -(-total // len(groups))

        def repeated(items: np.ndarray, count: int, stream: int) -> np.ndarray:
            """The first `count` of the items in one order after another."""
            random = np.random.default_rng([self.seed, self._epoch, _BALANCED, stream])
            turns = -(-count // len(items))
            return np.concatenate([random.permutation(items) if self.shuffle else items for _ in range(turns)])[:count]

        classes = repeated(np.arange(len(groups)), total, len(groups)) if total else self._plain[:0]
        images = [iter(repeated(group, rounds, number)) for number, group in enumerate(groups)] if total else []
        seen: Counter[int] = Counter()
        keys: list[Key] = []
        for number in classes.tolist():
            index = int(next(images[number]))
            keys.append(self._plain_key(index, seen[index]))
            seen[index] += 1
        return keys

    def _order(self, images: np.ndarray, epoch: int, stream: int, turn: int) -> np.ndarray:
        if not self.shuffle:
            return images
        return np.random.default_rng([self.seed, epoch, stream, turn]).permutation(images)


def for_labels_alone(key: Key) -> bool:
    """Return whether a key is a draw of an image with extra supervision for its labels alone."""
    return len(key) > 3


def _by_class(images: np.ndarray, labels: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The images of each class that has some, by class; at the end those without labels, if there are any."""
    groups: dict[int, list[int]] = {}
    for index in images.tolist():
        for label in labels[index] or (_NO_LABEL,):
            groups.setdefault(label, []).append(index)
    order = sorted(groups, key=lambda label: (label == _NO_LABEL, label))
    return [np.array(groups[label], dtype=np.int64) for label in order]


def choose_supervised(
    records: Sequence[Record],
    images: float,
    kind: str,
    seed: int,
    *,
    choice: Literal["balanced", "random"] = "balanced",
    ids: Collection[str] = (),
    among: AbstractSet[str] | None = None,
) -> list[int]:
    """Choose the images for extra supervision among those that have labels and masks or boxes.

    Boxes count only if one of them is of a label of the image.

    Args:
        images: Number of images (1 or more), or fraction of the records (below 1).
        kind: `masks`, or `boxes`, which can also be derived from masks.
        choice: `balanced`: distributed over the classes as evenly as possible. `random`: drawn uniformly.
        ids: The images themselves, in place of a number of them.
        among: Ids of the images to choose from; others count as if they had no masks or boxes.

    Returns:
        Sorted indices of `records`.

    Raises:
        DataError: Too few images have masks or boxes, or one of `ids` is unknown or has none.
    """
    if among is not None and among.isdisjoint(record.image_id for record in records):
        raise DataError(
            f"method.extra_list names {counted(len(among), 'image')}, such as {min(among)!r}, and none of the "
            f"{len(records)} of the training split, such as {records[0].image_id!r}: give a list of that split's ids"
        )
    wanted = int(images) if images >= 1 else max(1, round(images * len(records)))
    able = [
        position
        for position, record in enumerate(records)
        if record.labels and _has_regions(record, kind) and (among is None or record.image_id in among)
    ]
    if ids:
        return _named(records, able, ids, kind)
    if wanted > len(able):
        listed = len(records) if among is None else sum(record.image_id in among for record in records)
        raise DataError(_too_few(images, wanted, len(able), listed, kind, whole=among is None))
    shuffled = np.random.default_rng([seed, 0, _CHOICE]).permutation(np.array(able, dtype=np.int64)).tolist()
    if choice == "random":
        return sorted(shuffled[:wanted])
    waiting: dict[int, list[int]] = {}
    for position in reversed(shuffled):
        for label in records[position].labels:
            waiting.setdefault(label, []).append(position)
    held = dict.fromkeys(sorted(waiting), 0)
    chosen: set[int] = set()
    while len(chosen) < wanted:
        label = min(held, key=lambda label: (held[label], label))
        while waiting[label] and waiting[label][-1] in chosen:
            waiting[label].pop()
        if not waiting[label]:
            del held[label]
            continue
        position = waiting[label].pop()
        chosen.add(position)
        for other in records[position].labels:
            if other in held:
                held[other] += 1
    return sorted(chosen)


def _has_regions(record: Record, kind: str) -> bool:
    """Return whether an image has a mask or boxes of its labels. Boxes are derived from its mask if it has none."""
    if kind == "boxes" and record.boxes:
        return any(label in record.labels for label, _ in record.boxes)
    return record.mask is not None


def _too_few(images: float, wanted: int, able: int, count: int, kind: str, *, whole: bool) -> str:
    given = "data.masks or a table's column `mask`" if kind == "masks" else "masks or a table's column `boxes`"
    fewer = f"set method.extra_images to {able} or fewer" if able else "set method.extra_supervision=none to use none"
    among = str(count) if whole else f"{count} in method.extra_list"
    return (
        f"method.extra_images={images:g} needs {wanted} images with {kind}, but only {able} of {among} have labels and "
        f"{kind}: {fewer}, or give {'more' if able else 'some'} images {kind} (by {given})"
    )


def _named(records: Sequence[Record], able: Sequence[int], ids: Collection[str], kind: str) -> list[int]:
    known = {records[position].image_id: position for position in able}
    if lacking := [name for name in ids if name not in known]:
        there = [record.image_id for record in records]
        missing = f"is not in the split, whose ids are such as {there[0]!r}" if there else "is not in the split"
        reason = f"has no {kind} or no labels" if lacking[0] in there else missing
        raise DataError(
            f"{len(lacking)} of the {len(ids)} images named for {kind} cannot be used: {lacking[0]!r} {reason}; name "
            "images of the training split that have them"
        )
    return sorted(known[name] for name in set(ids))


def shards(count: int, batch_size: int, *, rank: int = 0, world: int = 1) -> list[list[int]]:
    """One worker's batches of a single pass in order: every image once; the last batch may be shorter."""
    batches = [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
    return batches[rank::world]


def _supervised_rows(batch_size: int, fraction: float, *, all_are: bool) -> int:
    rows = max(1, round(fraction * batch_size))
    if rows == batch_size > 1 and all_are:
        return batch_size // 2
    if rows >= batch_size:
        raise ConfigError(
            f"a batch of {batch_size} per worker cannot contain {rows} images with extra supervision and others, too; "
            "raise training.batch_size, or lower the method's share of supervised images or cluster.workers"
        )
    return rows
