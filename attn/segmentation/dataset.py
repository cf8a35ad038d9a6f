"""Samples for a segmentation network: inputs with the labels at the positions of the network's output."""

from __future__ import annotations

__all__ = ["SegmentationDataset"]

from dataclasses import replace

from attn.data.dataset import AttentionDataset
from attn.data.sample import Sample
from attn.data.source import Source
from attn.data.transforms import InputConfig
from attn.segmentation.grid import Size, labels_on_grid
from attn.segmentation.labels import LabelReader


class SegmentationDataset(AttentionDataset):
    """See `AttentionDataset`; every sample carries `cues`.

    Args:
        labels: What the network is to learn from.
        grid: (h, w) of the labels of an input.
    """

    def __init__(
        self, source: Source, input: InputConfig, *, train: bool, seed: int, labels: LabelReader, grid: Size
    ) -> None:
        super().__init__(source, input, train=train, seed=seed, with_masks=labels.needs_mask)
        self.labels, self.grid = labels, grid

    def _sample(self, index: int, draw_key: tuple[int, ...], skipped: tuple[str, ...], *, supervised: bool) -> Sample:
        sample = super()._sample(index, draw_key, skipped, supervised=supervised)
        result = self.labels(sample.record, sample.geometry.image_size, sample.mask)
        return replace(sample, mask=None, cues=labels_on_grid(result, sample.geometry, self.grid))
