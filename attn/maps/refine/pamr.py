"""Pixel-adaptive refinement of maps (PAMR): Araslanov and Roth, CVPR 2020, section 3.3.

Shapes: N maps, K channels of the image, H×W grid of both, P neighbours of a pixel.
"""

from __future__ import annotations

__all__ = ["DILATIONS", "ITERATIONS", "PamrConfig", "pamr"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from attn.maps.refine.base import (
    STORE_SIDE,
    RefinementConfig,
    Refiner,
    check_inputs,
    fitted,
    image_at,
    peak_one,
    resized,
)

ITERATIONS, DILATIONS = 10, (1, 2, 4, 8, 12, 24)
CONTRAST = 0.1
"""Difference of two colours that counts as large, as a share of the colours' local standard deviation."""
FLOOR = 1e-8
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]

Dilation = Annotated[int, Field(ge=1, le=256)]


class PamrConfig(RefinementConfig):
    """Each value becomes the mean of its neighbours' values, weighted by how alike the pixels' colours are.

    Attributes:
        iterations: How often the mean is taken.
        dilations: Distances of the eight neighbours, in pixels of the grid.
        size: Longest side of the grid to which image and maps are brought; a smaller image keeps its size. The
            smaller the grid, the further the dilations reach.
    """

    name: Literal["pamr"] = "pamr"
    iterations: int = Field(default=ITERATIONS, ge=1, le=1000)
    dilations: tuple[Dilation, ...] = Field(default=DILATIONS, min_length=1, max_length=32)
    size: int = Field(default=81, ge=1, le=2048)

    def open(self, device: torch.device) -> Refiner:
        return _Pamr(self, device)


def pamr(
    image_KHW: Tensor, maps_NHW: Tensor, *, iterations: int = ITERATIONS, dilations: Sequence[int] = DILATIONS
) -> Tensor:
    """Average maps over neighbours of like colour. Differentiable in the maps, on any device.

    A neighbour's weight is the softmax, over the neighbours of all dilations, of the mean over the channels of
    −|difference| / (0.1 σ), σ being the standard deviation of the pixel and its neighbours. Beyond the border lies the
    nearest pixel.

    Args:
        image_KHW: Colours, floating.
        maps_NHW: Maps on the image's grid.

    Returns:
        (N, H, W), between the lowest and the highest value of each map.

    Raises:
        ValueError: The grids differ.
    """
    if image_KHW.ndim != 3 or maps_NHW.ndim != 3 or image_KHW.shape[1:] != maps_NHW.shape[1:]:
        raise ValueError(f"maps {tuple(maps_NHW.shape)} do not lie on the grid of the image {tuple(image_KHW.shape)}")
    total, squares, distances = torch.zeros_like(image_KHW), torch.zeros_like(image_KHW), list[Tensor]()
    for shifted in _neighbours(image_KHW, dilations):
        difference = shifted - image_KHW
        total, squares = total + difference, squares + difference.square()
        distances.append(difference.abs())
    count = 9 * len(dilations)  # the pixel itself, with a difference of 0, counts once for each dilation
    variance = (squares - total.square() / count) / (count - 1)
    scale_KHW = FLOOR + CONTRAST * variance.clamp_min(0).sqrt()
    weights_PHW = torch.stack([-(one / scale_KHW).mean(0) for one in distances]).softmax(0)
    for _ in range(iterations):
        around = _neighbours(maps_NHW, dilations)
        maps_NHW = sum((w * m for w, m in zip(weights_PHW, around, strict=True)), start=torch.zeros_like(maps_NHW))
    return maps_NHW


def _neighbours(values_NHW: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The values at the eight neighbours of each dilation, in order."""
    height, width = values_NHW.shape[1:]
    rows, columns = (torch.arange(side, device=values_NHW.device) for side in (height, width))
    for dilation in dilations:
        for down, right in NEIGHBOURS:
            moved = values_NHW.index_select(1, (rows + down * dilation).clamp(0, height - 1))
            yield moved.index_select(2, (columns + right * dilation).clamp(0, width - 1))


@dataclass(frozen=True)
class _Pamr:
    config: PamrConfig
    device: torch.device

    def to(self, device: torch.device) -> Self:
        return replace(self, device=device)

    @property
    def description(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    @property
    def store_grid(self) -> tuple[int, int]:
        side = min(STORE_SIDE, self.config.size)
        return (side, side)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return fitted(image_size, self.config.size)

    def __call__(self, image_HW3: NDArray[np.uint8], maps_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
        check_inputs(image_HW3, maps_Nhw)
        size = self.grid((image_HW3.shape[0], image_HW3.shape[1]))
        colours = torch.from_numpy(image_at(image_HW3, size)).to(self.device).permute(2, 0, 1).float() / 255
        maps_NHW = resized(torch.from_numpy(np.ascontiguousarray(maps_Nhw, np.float32)).to(self.device), size)
        with torch.no_grad():
            refined = pamr(colours, maps_NHW, iterations=self.config.iterations, dilations=self.config.dilations)
        return peak_one(refined.cpu().numpy())
