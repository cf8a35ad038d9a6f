"""Batches of the second stream of images that a method may train on."""

from __future__ import annotations

__all__ = ["SourceBatches", "build_source_batches"]

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch.utils.data import DataLoader, Sampler

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sample import Batch
from attn.data.sampler import BatchSampler, Key
from attn.data.source import Source
from attn.data.transforms import InputConfig
from attn.data.view import SourceView, with_classes
from attn.errors import DataError
from attn.methods.base import SourceStream
from attn.wording import counted

_DRAW = 4
"""Of the seed of the images that are drawn; `attn.data.sampler` has the smaller numbers."""


class _Span(Sampler[list[Key]]):
    """A range of a sampler's batches, numbered through all epochs from the start of the run."""

    def __init__(self, sampler: BatchSampler) -> None:
        self._sampler = sampler
        self.first = self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[Key]]:
        yield from islice(self._endless(), self.count)

    def _endless(self) -> Iterator[list[Key]]:
        epoch, batch = divmod(self.first, len(self._sampler))
        while True:
            self._sampler.set_epoch(epoch)
            self._sampler.start(batch)
            yield from self._sampler
            epoch, batch = epoch + 1, 0


class SourceBatches:
    """One worker's batches of the second stream.

    A global batch depends only on the run's seed and its number; restarts and the number of workers do not change it.
    The stream has epochs of its own.
    """

    def __init__(self, dataset: AttentionDataset, sampler: BatchSampler, *, workers: int = 0) -> None:
        self.dataset = dataset
        self._span = _Span(sampler)
        self._loader: DataLoader[Batch] = build_loader(dataset, self._span, workers=workers)

    def batches(self, first: int, count: int) -> Iterator[Batch]:
        """The next `count` batches from number `first` on, counted from the start of the run."""
        self._span.first, self._span.count = first, count
        return iter(self._loader)


def build_source_batches(
    wanted: SourceStream,
    source: Source,
    input: InputConfig,
    classes: tuple[str, ...],
    *,
    batch_size: int,
    rank: int,
    world: int,
    seed: int,
    shuffle: bool,
    workers: int,
) -> SourceBatches:
    """Open the second stream, with the class indices of the first.

    Args:
        source: The images of `wanted.source`.
        classes: Of the run's own data.
        batch_size: Images of one batch of one worker.

    Raises:
        DataError: The source has no images, too few, other classes, or lacks what the method needs; names the first
            such image.
    """
    source = with_classes(source, classes, name="method.source", other="data")
    if not source.records:
        raise DataError(f"method.source has no images in split {wanted.source.split!r}")
    _check(source, wanted)
    if wanted.images is not None:
        source = _drawn(source, wanted.images, seed)
    dataset = AttentionDataset(source, input, train=True, seed=seed, with_saliency=wanted.saliency)
    sampler = BatchSampler(len(source.records), batch_size, rank=rank, world=world, seed=seed, shuffle=shuffle)
    return SourceBatches(dataset, sampler, workers=workers)


def _drawn(source: Source, images: float, seed: int) -> SourceView:
    """Some of the images, drawn at random; a smaller draw is a part of a larger one."""
    there = len(source.records)
    count = int(images) if images >= 1 else max(1, round(images * there))
    if count > there:
        raise DataError(
            f"method.source_images={images:g}, but the source has {counted(there, 'image')}: give fewer, or leave it "
            "out to use all"
        )
    order = np.random.default_rng([seed, _DRAW]).permutation(there)
    return SourceView(source, sorted(order[:count].tolist()), source.classes)


def _check(source: Source, wanted: SourceStream) -> None:
    for record in source.records:
        if wanted.single_label and len(record.labels) != 1:
            names = ", ".join(source.classes[label] for label in record.labels) or "none"
            raise DataError(
                f"method.source: image {record.image_id!r} has the classes {names}, where exactly one is needed; "
                "method.source.single_label=true leaves such images out"
            )
        if wanted.saliency and record.saliency is None:
            raise DataError(
                f"method.source: image {record.image_id!r} has no saliency map: set method.source.saliency to the "
                "folder that holds them"
            )
