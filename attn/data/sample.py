"""The stages of an image: records (names only), examples (decoded), samples (ready for the network), batches.

Shapes: B images, C classes without background, H×W network input, M (image, class) pairs that carry a region.
"""

from __future__ import annotations

__all__ = ["Batch", "Box", "Example", "Record", "Sample", "collate", "make_box"]

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from attn.errors import ConfigError, DataError

if TYPE_CHECKING:
    from attn.data.class_weights import ClassWeights
    from attn.data.geometry import Geometry

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Record:
    """One image of a data set by name, without its content.

    Attributes:
        image_id: Stable name, unique in the data set, and independent of order, split and location.
        labels: Class indices in [0, C), sorted, without duplicates; may be empty.
        image, mask, saliency: Location (path or `s3://` URI), or None. In masks and saliency maps, a `#` marks a part
            that only the source can produce; read all of them by `Source.load`.
        boxes: (class index, (left, top, right, bottom)) in pixels of the image, half-open.
        annotated_size: (height, width) of the image according to its annotations, if they have it; boxes and outlines
            are in these pixels.
        difficult: Classes of which the image shows only objects marked as difficult (VOC); None if objects are not
            marked. They are among the labels only if the data counts difficult objects.
        entry: Where a table or file lists the image, for messages: `row 3`, `images[2]`; None if nothing lists it.
    """

    image_id: str
    labels: tuple[int, ...]
    image: str | None = None
    mask: str | None = None
    saliency: str | None = None
    boxes: tuple[tuple[int, Box], ...] = ()
    annotated_size: tuple[int, int] | None = None
    difficult: tuple[int, ...] | None = None
    entry: str | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """The id for people; a number, of COCO, with the file's name, unless this is the number: `9 (cat.jpg)`."""
        file = (self.image or "").rpartition("/")[2]
        named = self.image_id.isdecimal() and file and file.partition(".")[0].lstrip("0") != self.image_id.lstrip("0")
        return f"{self.image_id} ({file})" if named else self.image_id


def make_box(left: float, top: float, right: float, bottom: float) -> Box:
    """A box from the numbers in a file.

    Raises:
        ValueError: An edge is not finite, or left and right, or top and bottom, are swapped.
    """
    box = left, top, right, bottom = float(left), float(top), float(right), float(bottom)
    if not all(map(math.isfinite, box)) or left > right or top > bottom:
        raise ValueError(f"the box {list(box)} must be finite, with left <= right and top <= bottom")
    return box


@dataclass(frozen=True)
class Example:
    """A decoded image with its annotations, in the image's upright frame.

    Attributes:
        record: The record, with boxes in the upright frame.
        image: uint8 (H0, W0, 3), RGB.
        mask: uint8 (H0, W0): 0 background, class index + 1, 255 ignored.
        saliency: uint8 (H0, W0), 0 to 255.
        boxes_fault: The error of the record's boxes, if they are invalid.
    """

    record: Record
    image: np.ndarray
    mask: np.ndarray | None = None
    saliency: np.ndarray | None = None
    boxes_fault: DataError | None = None


@dataclass(frozen=True)
class Sample:
    """A transformed example, ready to be collated.

    Attributes:
        index: Index in the data set.
        image: float32 (3, H, W), normalised.
        labels: float32 (C,), 0 or 1.
        geometry: Mapping between image and input, to transform maps back.
        region_labels: The present classes that its mask or boxes show; only for draws for extra supervision.
        regions: bool (n, H, W), their regions; None without any.
        saliency: float32 (H, W) in [0, 1].
        mask: uint8 (H0, W0) in the image's own frame; only if the run evaluates maps.
        cues: uint8 (h, w) on the grid of the segmentation network's output: 0 background, class index + 1, 255 unknown.
        soft_labels: float32 (n, h, w) in [0, 1] on the grid of the network's class maps, in the order of
            `record.labels`.
        skipped: Ids of unreadable images that this one replaces.
        exclusive: Every image has exactly one class by design; see `attn.data.source.Source`.
        scaled: The same part of the image at other scales, float32 (3, H', W'), in the order of the data set's scales.
        crops: float32 (10, 3, H, W), the parts of `ten_crops`.
        supervised: Whether this is a draw for extra supervision; None for data without any.
    """

    index: int
    record: Record
    image: Tensor
    labels: Tensor
    geometry: Geometry
    region_labels: tuple[int, ...] = ()
    regions: Tensor | None = None
    saliency: Tensor | None = None
    mask: np.ndarray | None = None
    cues: Tensor | None = None
    soft_labels: Tensor | None = None
    skipped: tuple[str, ...] = ()
    exclusive: bool = False
    scaled: tuple[Tensor, ...] = ()
    crops: Tensor | None = None
    supervised: bool | None = None


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        images: float32 (B, 3, H, W).
        labels: float32 (B, C) multi-hot.
        region_pairs: int64 (M, 2): rows (image, class), ordered by image, then class; on the host.
        regions: float32 (M, H, W), 0 or 1, in the order of `region_pairs`; M is 0 if no image is supervised.
        saliency: float32 (B, H, W) in [0, 1], or None.
        cues: uint8 (B, h, w), or None.
        soft_labels: float32 (B, C, h, w) in [0, 1], 0 for absent classes, or None.
        masks: One uint8 (H0, W0) per image; None for images without a mask.
        skipped: Ids of unreadable images that were replaced.
        exclusive: Every image has exactly one class by design; training uses softmax and cross-entropy.
        source_batch: The same step's batch of the second data stream; None for methods without one.
        class_weights: Weights of the classification loss, or None.
        scaled: The images at other scales, float32 (B, 3, H', W') each, in the order of the data set's scales.
        crops: float32 (B, 10, 3, H, W), or None: parts of each image whose probabilities are averaged.
        supervised: bool (B,) on the host: the rows that are drawn for extra supervision, and are trained by it alone.
            None: regions are additional to what else trains their images.
    """

    indices: tuple[int, ...]
    records: tuple[Record, ...]
    images: Tensor
    labels: Tensor
    geometry: tuple[Geometry, ...]
    region_pairs: Tensor
    regions: Tensor
    saliency: Tensor | None = None
    cues: Tensor | None = None
    soft_labels: Tensor | None = None
    masks: tuple[np.ndarray | None, ...] = field(default=())
    skipped: tuple[str, ...] = ()
    source_batch: Batch | None = None
    exclusive: bool = False
    class_weights: ClassWeights | None = None
    scaled: tuple[Tensor, ...] = ()
    crops: Tensor | None = None
    supervised: Tensor | None = None

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(record.image_id for record in self.records)

    @cached_property
    def host_labels(self) -> Tensor:
        """`labels` on the host, where no one waits for a device to read them."""
        return self.labels.cpu()

    @cached_property
    def host_cues(self) -> Tensor | None:
        """`cues` on the host."""
        return None if self.cues is None else self.cues.cpu()

    @cached_property
    def pairs(self) -> Tensor:
        """int64 (N, 2) on the host: the pairs (image, class) of `labels`, ordered by image, then class."""
        return self.host_labels.nonzero()

    def to(self, device: torch.device, *, channels_last: bool = False) -> Self:
        """A copy of the batch with its tensors on a device, except those that the host reads."""
        layout = torch.channels_last if channels_last else torch.preserve_format
        moved = replace(
            self,
            images=self.images.to(device, non_blocking=True, memory_format=layout),
            labels=self.labels.to(device, non_blocking=True),
            regions=self.regions.to(device, non_blocking=True),
            saliency=None if self.saliency is None else self.saliency.to(device, non_blocking=True),
            cues=None if self.cues is None else self.cues.to(device, non_blocking=True),
            soft_labels=None if self.soft_labels is None else self.soft_labels.to(device, non_blocking=True),
            source_batch=None
            if self.source_batch is None
            else self.source_batch.to(device, channels_last=channels_last),
            scaled=tuple(one.to(device, non_blocking=True, memory_format=layout) for one in self.scaled),
            crops=None if self.crops is None else self.crops.to(device, non_blocking=True),
        )
        moved.__dict__.update(host_labels=self.host_labels, host_cues=self.host_cues)
        return moved

    def host_part(self) -> Self:
        """A copy with what the host reads, without the tensors that the network reads."""
        return replace(
            self,
            images=self.images.new_empty(0),
            labels=self.host_labels,
            regions=self.regions.new_empty(0),
            saliency=None,
            cues=None,
            soft_labels=None,
            source_batch=None if self.source_batch is None else self.source_batch.host_part(),
            class_weights=None,
            scaled=(),
            crops=None,
        )

    def pin_memory(self) -> Self:
        """A copy of the batch in page-locked memory; called by PyTorch's DataLoader."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            region_pairs=self.region_pairs.pin_memory(),
            regions=self.regions.pin_memory(),
            saliency=None if self.saliency is None else self.saliency.pin_memory(),
            cues=None if self.cues is None else self.cues.pin_memory(),
            soft_labels=None if self.soft_labels is None else self.soft_labels.pin_memory(),
            scaled=tuple(one.pin_memory() for one in self.scaled),
            crops=None if self.crops is None else self.crops.pin_memory(),
            supervised=None if self.supervised is None else self.supervised.pin_memory(),
        )


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch.

    Raises:
        ConfigError: The inputs have different sizes.
    """
    sizes = {tuple(sample.image.shape[-2:]): sample.record.image_id for sample in samples}
    if len(sizes) > 1:
        shown = ", ".join(f"{image_id} {width}x{height}" for (height, width), image_id in list(sizes.items())[:3])
        raise ConfigError(
            f"a batch cannot contain inputs of different sizes ({shown}): input.resize=short_side needs batches of one "
            "image per worker. Set training.accumulate_steps to the number of images of a worker's step, or use "
            "resize=squash"
        )
    pairs, regions = [], []
    for row, sample in enumerate(samples):
        if sample.regions is not None:
            pairs += [(row, label) for label in sample.region_labels]
            regions.append(sample.regions)
    images = torch.stack([sample.image for sample in samples])
    saliency = [sample.saliency for sample in samples if sample.saliency is not None]
    cues = [sample.cues for sample in samples if sample.cues is not None]
    crops = [sample.crops for sample in samples if sample.crops is not None]
    supervised = [sample.supervised for sample in samples if sample.supervised is not None]
    return Batch(
        indices=tuple(sample.index for sample in samples),
        records=tuple(sample.record for sample in samples),
        images=images,
        labels=torch.stack([sample.labels for sample in samples]),
        geometry=tuple(sample.geometry for sample in samples),
        region_pairs=torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2),
        regions=torch.cat(regions).float() if regions else images.new_zeros((0, *images.shape[-2:])),
        saliency=torch.stack(saliency) if len(saliency) == len(samples) else None,
        cues=torch.stack(cues) if len(cues) == len(samples) else None,
        soft_labels=_by_class(samples),
        masks=tuple(sample.mask for sample in samples),
        skipped=tuple(name for sample in samples for name in sample.skipped),
        exclusive=all(sample.exclusive for sample in samples),
        scaled=tuple(torch.stack(one) for one in zip(*(sample.scaled for sample in samples), strict=True)),
        crops=torch.stack(crops) if len(crops) == len(samples) else None,
        supervised=torch.tensor(supervised) if len(supervised) == len(samples) else None,
    )


def _by_class(samples: Sequence[Sample]) -> Tensor | None:
    """Soft labels (B, C, h, w) of all classes; 0 for absent ones."""
    results = [sample.soft_labels for sample in samples if sample.soft_labels is not None]
    if len(results) < len(samples):
        return None
    labels_BChw = torch.zeros(len(samples), len(samples[0].labels), *results[0].shape[1:])
    for row, (sample, maps_nhw) in enumerate(zip(samples, results, strict=True)):
        labels_BChw[row, list(sample.record.labels)] = maps_nhw
    return labels_BChw
