"""Attention maps of a batch, resized to each image's own size."""

from __future__ import annotations

__all__ = ["ImageMaps", "MapInStrips", "MapsOnDemand", "evaluating", "image_maps", "strips"]

import contextlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attn.data.geometry import Geometry
from attn.data.sample import Batch, Record
from attn.errors import DataError
from attn.evaluation.classification import predicted_classes
from attn.losses.classification import class_probabilities
from attn.maps import attention, normalize_max
from attn.maps.attention import MapKind
from attn.models.output import Output

LARGE = 1 << 25
"""Number of values of one image's maps above which each map is computed on access, to save memory."""
STRIP = 1 << 20
"""Number of values that are computed at once when a map is read in strips."""


@dataclass(frozen=True)
class ImageMaps:
    """Probabilities and maps of one image, from a network or from a map store.

    Attributes:
        probabilities: float64 (C,); None if unknown.
        maps: float32 (H0, W0) in [0, 1] at the image's size by class index, each divided by its own maximum.
        mask: Ground-truth mask, uint8 (H0, W0), if there is one.
        whole: Whether the network has seen the whole image; regions outside a crop are 0 in the maps.
    """

    record: Record
    probabilities: NDArray[np.float64] | None
    maps: Mapping[int, NDArray[np.float32]]
    mask: NDArray[np.uint8] | None
    whole: bool = True


def image_maps(
    network: nn.Module,
    batch: Batch,
    *,
    kind: MapKind,
    layer: str = "last",
    probability: float = 0.5,
    predicted: bool = False,
    labels: bool = True,
    maps: bool = True,
    grid: tuple[int, int] | None = None,
    kept: bool = False,
    on_demand: bool = False,
) -> Iterator[ImageMaps]:
    """Run the network on a batch and return each image's maps, in order.

    Args:
        predicted: Compute maps of the predicted classes, too.
        probability: Classes with a higher probability are predicted; of exclusive classes, the most probable one.
        labels: Compute maps of the given labels.
        maps: Compute maps at all.
        grid: Size (h, w) of the maps, covering the whole image, instead of the image's own size.
        kept: The maps will be stored or made into cues, so they must cover whole images.
        on_demand: Return `MapsOnDemand` for small images, too.

    Raises:
        DataError: `kept` is set and the network has seen only a part of an image.
    """
    with evaluating(network):
        output = _forward(network, batch.images, kind, layer if maps else None)
        probabilities_BC = class_probabilities(output.logits.detach().double(), exclusive=batch.exclusive)
        wanted_BC = (batch.labels > 0) & labels
        if predicted:
            for row, item in enumerate(probabilities_BC.cpu().numpy()):
                likely = predicted_classes(item, threshold=probability, exclusive=batch.exclusive)
                wanted_BC[row, list(likely)] = True
        pairs_N2 = wanted_BC.nonzero() if maps else wanted_BC.new_zeros((0, 2), dtype=torch.int64)
        maps_Nhw = None
        if len(pairs_N2):
            maps_Nhw = attention(output, pairs_N2, kind=kind, layer=layer).detach().float()
    # Everything is computed before the first result is returned, so the network's mode is not changed in between.
    return _by_image(batch, probabilities_BC.cpu().numpy(), pairs_N2, maps_Nhw, grid, kept=kept, on_demand=on_demand)


def _by_image(
    batch: Batch,
    probabilities_BC: NDArray[np.float64],
    pairs_N2: Tensor,
    maps_Nhw: Tensor | None,
    grid: tuple[int, int] | None,
    *,
    kept: bool,
    on_demand: bool,
) -> Iterator[ImageMaps]:
    for row, record in enumerate(batch.records):
        mine = pairs_N2[:, 0] == row
        maps: Mapping[int, NDArray[np.float32]] = {}
        whole = True
        if maps_Nhw is not None and bool(mine.any()):
            geometry, indices = batch.geometry[row], pairs_N2[mine, 1].tolist()
            whole = geometry.covers_image(grid)
            if kept and not whole:
                raise DataError(
                    f"image {record.image_id!r}: the network sees only a part of it, so its maps would be 0 in the "
                    "rest. `attn maps MODEL input.resize=squash` makes maps of whole images; for cues, use the store "
                    "that it writes"
                )
            lazy = MapsOnDemand(dict(zip(indices, maps_Nhw[mine], strict=True)), geometry, grid)
            height, width = grid or geometry.image_size
            maps = lazy if on_demand or len(indices) * height * width > LARGE else dict(lazy)
        mask = batch.masks[row] if row < len(batch.masks) else None
        yield ImageMaps(record, probabilities_BC[row], maps, mask, whole)


class MapsOnDemand(Mapping[int, NDArray[np.float32]]):
    """Maps of one image; each is resized and normalised on access."""

    def __init__(self, on_input: dict[int, Tensor], geometry: Geometry, grid: tuple[int, int] | None) -> None:
        self._on_input, self._geometry, self._grid = on_input, geometry, grid

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        in_image, _ = self._geometry.to_image(self._on_input[index][None], self._grid)
        return normalize_max(in_image, in_place=True)[0].cpu().numpy()

    def in_strips(self, index: int) -> MapInStrips:
        """The same map, whose rows are computed on access."""
        return MapInStrips(self._on_input[index], self._geometry, self._grid or self._geometry.image_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._on_input)

    def __len__(self) -> int:
        return len(self._on_input)


class MapInStrips:
    """A map at its image's size that computes rows on access and keeps only the network's map in memory.

    Attributes:
        shape: (H0, W0).
    """

    def __init__(self, on_input_hw: Tensor, geometry: Geometry, size: tuple[int, int]) -> None:
        self._on_input, self._geometry, self.shape = on_input_hw, geometry, size

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Compute some rows, in [0, 1]."""
        values = self._rows(rows)
        return values / self._peak if self._peak > 0 else values

    @cached_property
    def _peak(self) -> np.float32:
        return max(self._rows(rows).max() for rows in strips(self.shape))

    def _rows(self, rows: slice) -> NDArray[np.float32]:
        in_image, _ = self._geometry.to_image(self._on_input[None], self.shape, rows)
        return in_image[0].cpu().numpy()


def strips(size: tuple[int, int], values: int = 1) -> Iterator[slice]:
    """Split the rows of an image into strips of about STRIP values.

    Args:
        size: (H, W).
        values: Number of values of each pixel.
    """
    rows = max(1, STRIP // (values * size[1]))
    for top in range(0, size[0], rows):
        yield slice(top, min(size[0], top + rows))


def _forward(network: nn.Module, images: Tensor, kind: MapKind, layer: str | None) -> Output:
    """The network's output, with a graph only if the maps need one."""
    if layer is None or layer == "last":
        with torch.no_grad():
            output: Output = network(images)
        if layer is None or kind in ("cam", "integral") or output.linear_weight is not None:
            return output
    with torch.enable_grad():
        # With all parameters frozen, only an input that requires gradients gives a graph.
        return network(images.detach().clone().requires_grad_())


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Generator[None]:
    """Put the network into evaluation mode in this context, and restore the modes of all modules afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
