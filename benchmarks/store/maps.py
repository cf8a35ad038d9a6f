"""The maps that all layouts store alike: real ones of photographs, and as many as ImageNet has, made of them.

Shapes: E epochs, N maps, h×w grid.
"""

from __future__ import annotations

__all__ = ["GRID", "Workload", "imagenet_sized", "photographs"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID = (28, 28)
SIZE = 224
CLASSES_PER_PHOTOGRAPH = 10
VOC_IMAGES, VOC_MAPS = 10_582, 15_555
IMAGENET_MAPS = 1_281_167


@dataclass(frozen=True)
class Workload:
    """Maps by row and epoch, and which rows are an image's.

    Attributes:
        bank: (E, N, h, w) uint8.
        starts: (images + 1,) first row of each image, and the number of rows.
        repeat: Rows are the bank's maps over and over, this many times, shifted and scaled each time.
    """

    name: str
    bank: NDArray[np.uint8]
    starts: NDArray[np.int64]
    repeat: int = 1

    @property
    def rows(self) -> int:
        """How many (image, class) pairs."""
        return int(self.starts[-1])

    @property
    def images(self) -> int:
        return len(self.starts) - 1

    def pairs(self) -> Iterator[tuple[str, int]]:
        """(image id, class) in the order of the rows."""
        for image, (start, stop) in enumerate(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)):
            for number in range(stop - start):
                yield image_id(image), number

    def image_of(self) -> NDArray[np.int64]:
        """(rows,) each row's image."""
        return np.repeat(np.arange(self.images), np.diff(self.starts))

    def maps(self, epoch: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(len(rows), h, w) uint8 of some rows as they are in an epoch."""
        epochs, count = self.bank.shape[:2]
        own = self.bank[epoch % epochs, rows % count]
        if self.repeat == 1:
            return own
        turn = (rows // count).astype(np.uint16)[:, None, None]
        rolled = np.where(turn % 2 == 1, own[:, :, ::-1], own)
        return (rolled * (256 - 2 * (turn % 64)) >> 8).astype(np.uint8)

    def batches(self, epoch: int, size: int = 16) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """An epoch's steps in random order: the images of a batch, as rows and their maps."""
        order = np.random.default_rng([1, epoch]).permutation(self.images)
        for start in range(0, self.images, size):
            images = order[start : start + size]
            first, count = self.starts[images], self.starts[images + 1] - self.starts[images]
            rows = np.repeat(first - count.cumsum() + count, count) + np.arange(count.sum())
            yield rows, self.maps(epoch, rows)


def image_id(number: int) -> str:
    """A name that sorts as the number does."""
    return f"image_{number:08d}"


def photographs(folders: Sequence[Path], weights: str, cache: Path, epochs: int = 3) -> Workload:
    """Class activation maps of MobileNetV2 at stride 8 on photographs, at the size of VOC's train_aug.

    The ten classes that the ImageNet classifier finds most likely in a photograph are dealt out to several images of
    one or two classes each; from epoch to epoch a smaller part of the photograph is seen.

    Args:
        folders: Searched for `*.jpg`.
        weights: A state dict of torchvision's MobileNetV2.
        cache: Where the maps are kept between runs.
    """
    if cache.exists():
        bank = np.load(cache)
    else:
        bank = _class_maps(folders, weights, epochs)
        np.save(cache, bank)
    bank = np.tile(bank, (1, -(-VOC_MAPS // bank.shape[1]), 1, 1))[:, :VOC_MAPS]
    # As many images with two classes as it takes to come from the number of images to that of maps.
    counts = np.ones(VOC_IMAGES, np.int64)
    counts[np.random.default_rng(0).choice(VOC_IMAGES, VOC_MAPS - VOC_IMAGES, replace=False)] += 1
    return Workload("voc", bank, np.concatenate([[0], counts.cumsum()]))


def imagenet_sized(real: Workload, maps: int = IMAGENET_MAPS) -> Workload:
    """One map an image, as many as asked for: the real ones over and over, mirrored and dimmed."""
    return Workload("imagenet", real.bank, np.arange(maps + 1), repeat=-(-maps // real.bank.shape[1]))


def _class_maps(folders: Sequence[Path], weights: str, epochs: int) -> NDArray[np.uint8]:
    import torch
    from PIL import Image
    from torch.nn.functional import interpolate

    from attn.maps import attention, normalize_max
    from attn.models import ModelConfig

    paths = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    network = ModelConfig(name="mobilenet_v2", weights=weights, stride=8, batch_norm="frozen").build(1000).eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    bank = np.zeros((epochs, len(paths) * CLASSES_PER_PHOTOGRAPH, *GRID), np.uint8)
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((SIZE + 32, SIZE + 32)))
        whole = (torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255 - mean) / std
        shard_bounds = [min(8 * epoch, 24) for epoch in range(epochs)]
        parts = [whole[None, :, cut : SIZE + 32 - cut, cut : SIZE + 32 - cut] for cut in shard_bounds]
        inputs = torch.cat([interpolate(part, (SIZE, SIZE), mode="bilinear", align_corners=False) for part in parts])
        with torch.no_grad():
            output = network(inputs)
            classes = output.logits[0].topk(CLASSES_PER_PHOTOGRAPH).indices
            pairs = torch.cartesian_prod(torch.arange(epochs), classes)
            result = normalize_max(attention(output, pairs, kind="cam"))
        rows = slice(number * CLASSES_PER_PHOTOGRAPH, (number + 1) * CLASSES_PER_PHOTOGRAPH)
        bank[:, rows] = (result * 255).round().byte().numpy().reshape(epochs, CLASSES_PER_PHOTOGRAPH, *GRID)
    return bank
