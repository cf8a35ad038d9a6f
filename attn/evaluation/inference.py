"""Attention maps of a batch, put back into each image's own frame."""

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
"""Values of one image's maps from which on each map is made when it is asked for: all would fill the memory."""
STRIP = 1 << 20
"""Values of maps that are made at once where they are asked for strip by strip; a few copies lie in memory."""


@dataclass(frozen=True)
class ImageMaps:
    """What a network makes of one image, or what a store holds of it.

    Attributes:
        probabilities: float64 (C,); None where they are not known.
        maps: float32 (H0, W0) in [0, 1] at the image's size, each normalised by its own maximum there, by class index.
        mask: uint8 (H0, W0), where the batch has one.
        whole: The network has seen all of the image; what a crop left out is 0 in the maps.
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
    """Run the network on a batch and give each image's maps, in order.

    Args:
        predicted: Maps of the predicted classes too.
        probability: From which on (exclusive) a class counts as predicted; where classes exclude each other the most
            probable one does.
        labels: Maps of the given classes.
        maps: Whether maps are wanted at all.
        grid: (h, w) over the whole image on which maps are given, and normalised, instead of the image's own pixels.
        kept: The maps are to stand for the whole images from now on, in a store or as cues.
        on_demand: Give `MapsOnDemand`, of a small image too.

    Raises:
        DataError: Maps are to be kept, and the network has seen a part of an image only.
    """
    with evaluating(network):
        output = _forward(network, batch.images, kind, layer if maps else None)
        probabilities_BC = class_probabilities(output.logits.detach().double(), exclusive=batch.exclusive)
        wanted_BC = (batch.labels > 0) & labels
        if predicted:
            for row, found in enumerate(probabilities_BC.cpu().numpy()):
                likely = predicted_classes(found, threshold=probability, exclusive=batch.exclusive)
                wanted_BC[row, list(likely)] = True
        pairs_N2 = wanted_BC.nonzero() if maps else wanted_BC.new_zeros((0, 2), dtype=torch.int64)
        maps_Nhw = None
        if len(pairs_N2):
            maps_Nhw = attention(output, pairs_N2, kind=kind, layer=layer).detach().float()
    # Everything is computed before the first result is handed out: the network's mode is not left changed in between.
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
                    f"image {record.image_id!r}: the network sees a part of it only, and its maps would say of the "
                    "rest that nothing is there. `attn maps MODEL input.resize=squash` makes maps of whole images; for "
                    "cues, name the store that it writes as their source"
                )
            lazy = MapsOnDemand(dict(zip(indices, maps_Nhw[mine], strict=True)), geometry, grid)
            height, width = grid or geometry.image_size
            maps = lazy if on_demand or len(indices) * height * width > LARGE else dict(lazy)
        mask = batch.masks[row] if row < len(batch.masks) else None
        yield ImageMaps(record, probabilities_BC[row], maps, mask, whole)


class MapsOnDemand(Mapping[int, NDArray[np.float32]]):
    """Maps of one image, each put into its frame and normalised whenever it is asked for."""

    def __init__(self, on_input: dict[int, Tensor], geometry: Geometry, grid: tuple[int, int] | None) -> None:
        self._on_input, self._geometry, self._grid = on_input, geometry, grid

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        in_image, _ = self._geometry.to_image(self._on_input[index][None], self._grid)
        return normalize_max(in_image, in_place=True)[0].cpu().numpy()

    def in_strips(self, index: int) -> MapInStrips:
        """The same map, of which some rows at a time are made."""
        return MapInStrips(self._on_input[index], self._geometry, self._grid or self._geometry.image_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._on_input)

    def __len__(self) -> int:
        return len(self._on_input)


class MapInStrips:
    """A map at its image's size, of which nothing is kept but what the network gave.

    Attributes:
        shape: (H0, W0).
    """

    def __init__(self, on_input_hw: Tensor, geometry: Geometry, size: tuple[int, int]) -> None:
        self._on_input, self._geometry, self.shape = on_input_hw, geometry, size

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Some rows, in [0, 1]."""
        values = self._rows(rows)
        return values / self._peak if self._peak > 0 else values

    @cached_property
    def _peak(self) -> np.float32:
        return max(self._rows(rows).max() for rows in strips(self.shape))

    def _rows(self, rows: slice) -> NDArray[np.float32]:
        in_image, _ = self._geometry.to_image(self._on_input[None], self.shape, rows)
        return in_image[0].cpu().numpy()


def strips(size: tuple[int, int], values: int = 1) -> Iterator[slice]:
    """The rows of an image in parts of a million values.

    Args:
        values: Of each pixel.
    """
    rows = max(1, STRIP // (values * size[1]))
    for top in range(0, size[0], rows):
        yield slice(top, min(size[0], top + rows))


def _forward(network: nn.Module, images: Tensor, kind: MapKind, layer: str | None) -> Output:
    """The network's output, with a graph only where the maps need one."""
    if layer is None or layer == "last":
        with torch.no_grad():
            output: Output = network(images)
        if layer is None or kind in ("cam", "integral") or output.linear_weight is not None:
            return output
    with torch.enable_grad():
        # A frozen network builds no graph of its own accord.
        return network(images.detach().clone().requires_grad_())


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Generator[None]:
    """Within, the network is in evaluation mode; afterwards each of its modules is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
