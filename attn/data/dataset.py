"""The PyTorch data set: turns a source's examples into samples for the network."""

from __future__ import annotations

__all__ = ["AttentionDataset"]

import logging
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from attn.data.boxes import box_regions, boxes_of, mask_regions
from attn.data.geometry import Geometry
from attn.data.sample import Example, Sample
from attn.data.sampler import Key, for_labels_alone
from attn.data.soft_labels import SoftLabels
from attn.data.source import Source
from attn.data.transforms import InputConfig, at_scale, draw_geometry, ten_crops, to_input
from attn.errors import DataError

log = logging.getLogger(__name__)


class AttentionDataset(Dataset[Sample]):
    """Decodes and transforms images. All randomness depends only on seed, epoch and index.

    Args:
        train: Use random crops, flips and colours.
        supervised: Indices of the images with extra supervision; a sampler's key may draw one for its labels alone.
        region_kind: Kind of extra supervision. Boxes that a record lacks are derived from its mask.
        with_masks: Return masks in the image's own frame, for evaluation.
        with_saliency: Return saliency in the input's frame; an image without saliency is an error.
        soft_labels: Reads stored maps, returned in the input's frame.
        scales: Also return the input at these scales, without random colours.
        crops: Also return `ten_crops` of each image.
        stride: Of the network; the sides of scaled inputs are rounded by it.
    """

    def __init__(
        self,
        source: Source,
        input: InputConfig,
        *,
        train: bool,
        seed: int = 0,
        supervised: Collection[int] = (),
        region_kind: Literal["masks", "boxes"] = "masks",
        with_masks: bool = False,
        with_saliency: bool = False,
        soft_labels: SoftLabels | None = None,
        scales: Sequence[float] = (),
        crops: bool = False,
        stride: int = 1,
    ) -> None:
        self.source, self.input, self.train, self.seed = source, input, train, seed
        self.supervised, self.region_kind = frozenset(supervised), region_kind
        self._supervised_order = sorted(self.supervised)
        self.with_masks, self.with_saliency, self.soft_labels = with_masks, with_saliency, soft_labels
        self.scales, self.crops, self.stride = tuple(scales), crops, stride
        self._epoch = 0
        self._warned: set[str] = set()

    def __len__(self) -> int:
        return len(self.source.records)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of samples that are accessed by a plain index; a sampler's keys contain their epoch."""
        self._epoch = epoch

    def __getitem__(self, key: Key | int) -> Sample:
        """One sample by (epoch, index) or index.

        Raises:
            DataError: A file is broken or missing and the source's `on_error` is `raise`, or no image can be read (for
            extra supervision: no image that has some).
        """
        epoch, index, *repeat = (self._epoch, key) if isinstance(key, int) else key
        supervised = index in self.supervised and (isinstance(key, int) or not for_labels_alone(key))
        among = self._supervised_order if supervised else range(len(self))
        first = bisect_left(among, index)
        skipped: list[str] = []
        for step in range(len(among)):
            position = among[(first + step) % len(among)]
            try:
                return self._sample(position, (epoch, *repeat), tuple(skipped), supervised=supervised)
            except DataError as error:
                if self.source.on_error == "raise":
                    raise
                self._warn(self.source.records[position].image_id, error)
                skipped.append(self.source.records[position].image_id)
        kind = " with extra supervision" if supervised else ""
        raise DataError(f"none of the {len(among)} images{kind} can be read; the first fault is logged above")

    def _sample(self, index: int, draw_key: tuple[int, ...], skipped: tuple[str, ...], *, supervised: bool) -> Sample:
        example = self.source.load(index, mask=self.with_masks or supervised, saliency=self.with_saliency)
        record = example.record
        # The key's length is part of the seed: else a repetition could equal another index's seed.
        rng = np.random.default_rng([self.seed, index, len(draw_key), *draw_key]) if self.train else None
        size = (example.image.shape[0], example.image.shape[1])
        geometry = draw_geometry(self.input, size, rng)
        labels = torch.zeros(len(self.source.classes))
        labels[list(record.labels)] = 1.0
        region_labels, regions = self._regions(example, geometry) if supervised else ((), None)
        return Sample(
            index=index,
            record=record,
            image=to_input(self.input, example.image, geometry, rng),
            labels=labels,
            geometry=geometry,
            region_labels=region_labels,
            regions=regions,
            saliency=self._saliency(example, geometry) if self.with_saliency else None,
            mask=example.mask if self.with_masks else None,
            soft_labels=self.soft_labels.read(record, geometry) if self.soft_labels else None,
            skipped=skipped,
            exclusive=self.source.exclusive,
            scaled=tuple(
                to_input(self.input, example.image, at_scale(geometry, scale, self.stride)) for scale in self.scales
            ),
            crops=self._crops(example) if self.crops else None,
            supervised=supervised if self.supervised else None,
        )

    def _crops(self, example: Example) -> Tensor:
        size = (example.image.shape[0], example.image.shape[1])
        return torch.stack([to_input(self.input, example.image, part) for part in ten_crops(self.input, size)])

    def _regions(self, example: Example, geometry: Geometry) -> tuple[tuple[int, ...], Tensor | None]:
        """The labels that the image's mask or boxes show, and their regions; others carry no supervision."""
        labels = example.record.labels
        if not labels:
            return (), None
        if self.region_kind == "boxes":
            boxes = boxes_of(example)
            if not boxes and example.mask is None:
                raise DataError(f"image {example.record.image_id!r} has neither boxes nor a mask to derive them from")
            regions = box_regions(boxes, labels, geometry.image_size)
        elif example.mask is None:
            raise DataError(f"image {example.record.image_id!r} was chosen for supervision by its mask, but has none")
        else:
            regions = mask_regions(example.mask, labels)
        shown = [index for index, region in enumerate(regions) if region.any()]
        if not shown:
            return (), None
        own = tuple(labels[index] for index in shown)
        return own, geometry.apply(torch.from_numpy(regions[shown]), "nearest").bool()

    def _saliency(self, example: Example, geometry: Geometry) -> Tensor:
        if example.saliency is None:
            raise DataError(f"image {example.record.image_id!r} has no saliency map; set data.saliency to their folder")
        saliency_1HW = torch.from_numpy(np.require(example.saliency, requirements=["C", "W"]))[None].float()
        # Rounding may make an average slightly larger than its terms.
        return (geometry.apply(saliency_1HW)[0] / 255).clamp_(0, 1)

    def _warn(self, image_id: str, error: DataError) -> None:
        if image_id not in self._warned:
            self._warned.add(image_id)
            log.warning("image %s is skipped: %s", image_id, error)
