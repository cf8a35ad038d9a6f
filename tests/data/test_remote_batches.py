"""A batch whose images lie in an object store: its images are read at the same time, and the batch is the same."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sample import Example
from attn.data.sources import ScenesConfig
from attn.data.transforms import InputConfig
from attn.files.locations import FileFault


class Remote:
    """Drawn images under addresses of an object store; one is read when all `together` are asked for."""

    def __init__(self, together: int, *, broken: tuple[int, ...] = ()) -> None:
        self._drawn: Any = ScenesConfig(count=8, size=32).build()
        self.classes, self.on_error, self.exclusive = self._drawn.classes, "raise", False
        self.records = [replace(record, image=f"s3://photos/{record.image_id}.png") for record in self._drawn.records]
        self._barrier, self._broken = threading.Barrier(together), broken

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        self._barrier.wait(timeout=20)
        if index in self._broken:
            raise FileFault(str(self.records[index].image), "is damaged")
        return self._drawn.load(index, mask=mask, saliency=saliency)


def batches(source: Any, *keys: list[Any]) -> list[Any]:
    dataset = AttentionDataset(source, InputConfig(size=24, resize="crop"), train=True, seed=3)
    return list(build_loader(dataset, list(keys), pin=False))


def test_the_images_of_a_batch_are_read_at_the_same_time() -> None:
    keys = [(1, 5), (1, 0), (1, 7), (1, 2)]
    (truth,), (batch,) = batches(Remote(1), keys), batches(Remote(4), keys)
    assert batch.image_ids == truth.image_ids == tuple(Remote(1).records[index].image_id for _, index in keys)
    torch.testing.assert_close(batch.images, truth.images, rtol=0, atol=0)
    torch.testing.assert_close(batch.labels, truth.labels, rtol=0, atol=0)


def test_the_first_fault_of_a_batch_is_told() -> None:
    with pytest.raises(FileFault, match=rf"{Remote(1).records[3].image}: is damaged"):
        batches(Remote(4, broken=(3, 6)), [0, 3, 6, 1])
