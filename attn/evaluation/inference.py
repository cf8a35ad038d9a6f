"""Attention maps of a batch, resized to each image's own size."""

from __future__ import annotations

__all__ = ["ImageMaps", "MapInStrips", "MapsOnDemand", "evaluating", "image_maps", "strips"]

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
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
from attn.maps.attention import BY_GRADIENT, MapKind
from attn.maps.settings import PLAIN, MapSettings
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
        predicted_maps: Maps of the predicted classes, where those of `maps` depend on the given labels.
    """

    record: Record
    probabilities: NDArray[np.float64] | None
    maps: Mapping[int, NDArray[np.float32]]
    mask: NDArray[np.uint8] | None
    whole: bool = True
    predicted_maps: Mapping[int, NDArray[np.float32]] | None = None


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
    settings: MapSettings = PLAIN,
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
        settings: How maps are made; `batch.scaled` holds the images at its `other_scales`. Probabilities are those of
            scale 1, not mirrored, or the means over `batch.crops`.

    Raises:
        DataError: `kept` is set and the network has seen only a part of an image.
        ValueError: The batch lacks the images at other scales.
    """
    if maps and len(batch.scaled) != len(settings.other_scales):
        raise ValueError(f"a batch with {len(batch.scaled)} other scales cannot give maps of {settings.other_scales}")
    with evaluating(network):
        output = _forward(network, batch.images, kind, layer if maps and 1 in settings.scales else None)
        probabilities_BC = class_probabilities(output.logits.detach().double(), exclusive=batch.exclusive)
        if batch.crops is not None:
            probabilities_BC = _of_crops(network, batch.crops, exclusive=batch.exclusive)
        wanted_BC = (batch.labels > 0) & labels
        if predicted:
            for row, item in enumerate(probabilities_BC.cpu().numpy()):
                likely = predicted_classes(item, threshold=probability, exclusive=batch.exclusive)
                wanted_BC[row, list(likely)] = True
        pairs_N2 = wanted_BC.nonzero() if maps else wanted_BC.new_zeros((0, 2), dtype=torch.int64)
        views: list[Tensor] = []
        if len(pairs_N2):
            if 1 in settings.scales:
                views.append(attention(output, pairs_N2, kind=kind, layer=layer).detach().float())
            del output  # and its graph, before other inputs have theirs
            views += _further_views(network, batch, pairs_N2, settings, kind, layer)
            views = _comparable(views, kind)
    # Everything is computed before the first result is returned, so the network's mode is not changed in between.
    return _by_image(batch, probabilities_BC.cpu().numpy(), pairs_N2, views, grid, kept=kept, on_demand=on_demand)


def _of_crops(network: nn.Module, crops: Tensor, *, exclusive: bool) -> Tensor:
    """float64 (B, C): mean probabilities over the parts (B, P, 3, H, W) of each image."""
    with torch.no_grad():
        parts = [class_probabilities(network(part).logits.double(), exclusive=exclusive) for part in crops.unbind(1)]
    return torch.stack(parts).mean(0)


def _further_views(
    network: nn.Module, batch: Batch, pairs_N2: Tensor, settings: MapSettings, kind: MapKind, layer: str
) -> Iterator[Tensor]:
    """The maps (N, h, w) of other scales and of mirrored inputs, mirrored back."""
    images = {1.0: batch.images} | dict(zip(settings.other_scales, batch.scaled, strict=True))
    for scale in settings.scales:
        # No more pixels at once than at scale 1, which the memory is known to hold.
        at_once = max(1, int(batch.images.numel() / images[scale][:1].numel()))
        for mirrored in [False, True] if settings.flip else [False]:
            if scale != 1 or mirrored:
                yield _view(network, images[scale], pairs_N2, kind, layer, mirrored=mirrored, at_once=at_once)


def _view(
    network: nn.Module, images: Tensor, pairs_N2: Tensor, kind: MapKind, layer: str, *, mirrored: bool, at_once: int
) -> Tensor:
    """The maps (N, h, w) of images of one size, of which only those with a pair are put into the network."""
    results: list[Tensor] = []
    for rows in pairs_N2[:, 0].unique().split(at_once):
        chosen = images[rows].flip(-1) if mirrored else images[rows]
        pairs = pairs_N2[torch.isin(pairs_N2[:, 0], rows)]
        local = torch.stack([torch.searchsorted(rows, pairs[:, 0].contiguous()), pairs[:, 1]], 1)
        maps = attention(_forward(network, chosen, kind, layer), local, kind=kind, layer=layer).detach().float()
        results.append(maps.flip(-1) if mirrored else maps)
    return torch.cat(results)


def _comparable(views: Sequence[Tensor], kind: MapKind) -> list[Tensor]:
    """Maps of inputs of several sizes, such that they can be added.

    A gradient map is weighted by the mean of a gradient over positions. Behind average pooling a position's gradient is
    the inverse of their number, so that maps of larger inputs would have less weight. The sum over positions has not.
    """
    if kind not in BY_GRADIENT or len({view.shape for view in views}) < 2:
        return list(views)
    return [view * (view.shape[1] * view.shape[2]) for view in views]


def _by_image(
    batch: Batch,
    probabilities_BC: NDArray[np.float64],
    pairs_N2: Tensor,
    views: Sequence[Tensor],
    grid: tuple[int, int] | None,
    *,
    kept: bool,
    on_demand: bool,
) -> Iterator[ImageMaps]:
    for row, record in enumerate(batch.records):
        mine = pairs_N2[:, 0] == row
        maps: Mapping[int, NDArray[np.float32]] = {}
        whole = True
        if bool(mine.any()):
            geometry, indices = batch.geometry[row], pairs_N2[mine, 1].tolist()
            whole = geometry.covers_image(grid)
            if kept and not whole:
                raise DataError(
                    f"image {record.image_id!r}: the network sees only a part of it, so its maps would be 0 in the "
                    "rest. `attn maps MODEL input.resize=squash` makes maps of whole images; for cues, use the store "
                    "that it writes"
                )
            of_classes = zip(*(view[mine] for view in views), strict=True)
            lazy = MapsOnDemand(dict(zip(indices, of_classes, strict=True)), geometry, grid)
            height, width = grid or geometry.image_size
            maps = lazy if on_demand or len(indices) * height * width > LARGE else dict(lazy)
        mask = batch.masks[row] if row < len(batch.masks) else None
        yield ImageMaps(record, probabilities_BC[row], maps, mask, whole)


class MapsOnDemand(Mapping[int, NDArray[np.float32]]):
    """Maps of one image; each is resized, added over the inputs that it is of, and normalised on access.

    Args:
        on_input: By class index the map (h, w) of each input of the image.
    """

    def __init__(
        self, on_input: dict[int, tuple[Tensor, ...]], geometry: Geometry, grid: tuple[int, int] | None
    ) -> None:
        self._on_input, self._geometry, self._grid = on_input, geometry, grid

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        in_image = _in_image(self._on_input[index], self._geometry, self._grid)
        return normalize_max(in_image, in_place=True)[0].cpu().numpy()

    def in_strips(self, index: int, size: tuple[int, int] | None = None) -> MapInStrips:
        """The same map, whose rows are computed on access.

        Args:
            size: Another size (h, w) of the map, covering the whole image.
        """
        return MapInStrips(self._on_input[index], self._geometry, size or self._grid or self._geometry.image_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._on_input)

    def __len__(self) -> int:
        return len(self._on_input)


class MapInStrips:
    """A map at its image's size that computes rows on access and keeps only the network's map in memory.

    Attributes:
        shape: (H0, W0).
    """

    def __init__(self, on_input: Sequence[Tensor], geometry: Geometry, size: tuple[int, int]) -> None:
        self._on_input, self._geometry, self.shape = on_input, geometry, size

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Compute some rows, in [0, 1]."""
        values = self._rows(rows)
        return values / self._peak if self._peak > 0 else values

    @cached_property
    def _peak(self) -> np.float32:
        return max(self._rows(rows).max() for rows in strips(self.shape))

    def _rows(self, rows: slice) -> NDArray[np.float32]:
        return _in_image(self._on_input, self._geometry, self.shape, rows)[0].cpu().numpy()


def _in_image(
    views: Sequence[Tensor], geometry: Geometry, size: tuple[int, int] | None, rows: slice = slice(None)
) -> Tensor:
    """Sum of one class's maps (h, w) in the image's frame, (1, rows, W0)."""
    total, _ = geometry.to_image(views[0][None], size, rows)
    for view in views[1:]:
        total += geometry.to_image(view[None], size, rows)[0]
    return total


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
