"""Where a network's input lies in its image, and the way back.

Shapes: N maps, H0×W0 image, H×W input, h×w map grid. Pixels are areas: the centre of pixel i lies at i + 1/2.
"""

from __future__ import annotations

__all__ = ["Geometry"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP = 1 << 22
"""Values that are read at once: as a whole, a map of a large image would lie in memory four times."""


@dataclass(frozen=True)
class Geometry:
    """The part of an image that became the input.

    Attributes:
        image_size: (H0, W0).
        crop: (top, left, height, width) in whole pixels of the image; it may reach beyond the image's edges.
        size: (H, W) of the input that the crop was resized to.
        flip: The input is mirrored left to right.
    """

    image_size: tuple[int, int]
    crop: tuple[int, int, int, int]
    size: tuple[int, int]
    flip: bool = False

    def __post_init__(self) -> None:
        crop = tuple(int(edge) for edge in self.crop)
        if crop != tuple(self.crop) or len(crop) != 4:
            raise ValueError(f"crop is {self.crop}; it must be (top, left, height, width) in whole pixels")
        if min(*crop[2:], *self.size, *self.image_size) < 1:
            raise ValueError(f"crop {crop}, size {self.size} and image_size {self.image_size} must not be empty")
        object.__setattr__(self, "crop", crop)

    @property
    def is_whole(self) -> bool:
        """Whether the input shows all of the image and nothing else."""
        return tuple(self.crop) == (0, 0, *self.image_size)

    @classmethod
    def whole(cls, image_size: tuple[int, int], size: tuple[int, int] | None = None, *, flip: bool = False) -> Geometry:
        """All of the image, squashed to `size`."""
        return cls(image_size, (0, 0, *image_size), size or image_size, flip)

    def apply(
        self,
        image_CHW: Tensor,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
        *,
        fill: Sequence[float] | float = 0,
    ) -> Tensor:
        """Bring what lies in the image's frame into the input's.

        Args:
            image_CHW: (C, H0, W0), uint8 or floating.
            interpolation: `bilinear` averages over area where it shrinks; `nearest` takes the value at the centre.
            fill: Value beyond the image's edges, one for all channels or one each.

        Returns:
            (C, H, W) of the same dtype.
        """
        if tuple(image_CHW.shape[-2:]) != self.image_size:
            raise ValueError(f"got {tuple(image_CHW.shape)}; this geometry is of a {self.image_size} image")
        crop_1CHW = self._cut(image_CHW, fill)[None]
        if tuple(crop_1CHW.shape[-2:]) == self.size:
            out_CHW = crop_1CHW[0]
        elif interpolation == "nearest":
            out_CHW = F.interpolate(crop_1CHW, self.size, mode="nearest-exact")[0]
        else:
            out_CHW = F.interpolate(crop_1CHW, self.size, mode="bilinear", align_corners=False, antialias=True)[0]
        return out_CHW.flip(-1) if self.flip else out_CHW

    def boxes(self, boxes_N4: Tensor) -> Tensor:
        """Boxes (left, top, right, bottom) of the image in pixels of the input, clipped to it.

        Returns:
            (N, 4) in the same order; a box that lies outside the crop has no area.
        """
        top, left, height, width = self.crop
        scale = boxes_N4.new_tensor([self.size[1] / width, self.size[0] / height] * 2)
        out_N4 = (boxes_N4 - boxes_N4.new_tensor([left, top] * 2)) * scale
        if self.flip:
            mirrored = self.size[1] - out_N4
            out_N4 = torch.stack([mirrored[:, 2], out_N4[:, 1], mirrored[:, 0], out_N4[:, 3]], 1)
        limit = boxes_N4.new_tensor([self.size[1], self.size[0]] * 2)
        return torch.minimum(out_N4.clamp(min=0), limit)

    def to_image(
        self, maps_Nhw: Tensor, size: tuple[int, int] | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Maps over the input, put back into the image's own frame: flip, resize and crop undone.

        Args:
            maps_Nhw: On any grid that covers the input, floating.
            size: The grid to give them on, over the whole image; the image's own pixels where it is None.
            rows: Those of that grid that are wanted.

        Returns:
            The maps, bilinear between the centres of the given grid and 0 where the crop did not see, and a bool
            grid of where it did.
        """
        if maps_Nhw.ndim != 3 or not maps_Nhw.is_floating_point():
            raise ValueError(f"maps are {maps_Nhw.dtype} {tuple(maps_Nhw.shape)}; expected floating (N, h, w)")
        down, across = self._axes(size, maps_Nhw.shape[1], maps_Nhw.shape[2])
        return _read(maps_Nhw, down.part(rows), across)

    def sees_all(self, size: tuple[int, int] | None = None) -> bool:
        """Whether there is no place in the image's frame that the crop did not see; `size` as in `to_image`."""
        rows, columns = self._axes(size, 1, 1)
        return bool(rows.seen.all()) and bool(columns.seen.all())

    def from_image(self, maps_Nhw: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps over the whole image on a grid over the input: what `to_image` undoes.

        Args:
            maps_Nhw: On any grid that covers the image, floating.
            size: (h, w) of the grid over the input.

        Returns:
            (N, h, w), bilinear between the centres of the given grid and 0 beyond the image's edges.
        """
        if maps_Nhw.ndim != 3 or not maps_Nhw.is_floating_point():
            raise ValueError(f"maps are {maps_Nhw.dtype} {tuple(maps_Nhw.shape)}; expected floating (N, h, w)")
        top, left, height, width = self.crop
        rows = _axis(_shares_of_image(size[0], self.image_size[0], top, height), maps_Nhw.shape[1], flip=False)
        across = _shares_of_image(size[1], self.image_size[1], left, width)
        columns = _axis(across.flip(0) if self.flip else across, maps_Nhw.shape[2], flip=False)
        return _read(maps_Nhw, rows, columns)[0]

    def _axes(self, size: tuple[int, int] | None, h: int, w: int) -> tuple[_Axis, _Axis]:
        """Where a grid over the image lies in one of h×w over the input."""
        out_h, out_w = size or self.image_size
        top, left, height, width = self.crop
        rows = _axis(_shares_of_crop(out_h, self.image_size[0], top, height), h, flip=False)
        return rows, _axis(_shares_of_crop(out_w, self.image_size[1], left, width), w, flip=self.flip)

    def _cut(self, image_CHW: Tensor, fill: Sequence[float] | float) -> Tensor:
        top, left, height, width = self.crop
        rows = slice(max(top, 0), min(top + height, self.image_size[0]))
        columns = slice(max(left, 0), min(left + width, self.image_size[1]))
        inside = image_CHW[:, rows, columns]
        if tuple(inside.shape[-2:]) == (height, width):
            return inside
        values = image_CHW.new_tensor([fill] * len(image_CHW) if isinstance(fill, (int, float)) else list(fill))
        out = values[:, None, None].repeat(1, height, width)
        if inside.numel():
            out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
        return out


class _Axis(NamedTuple):
    """For each place along one axis: the two cells it lies between, how near the higher one is, whether it is seen."""

    low: Tensor
    high: Tensor
    weight: Tensor
    seen: Tensor

    def part(self, places: slice) -> _Axis:
        return _Axis(self.low[places], self.high[places], self.weight[places], self.seen[places])

    def to(self, like: Tensor) -> _Axis:
        device = like.device
        return _Axis(self.low.to(device), self.high.to(device), self.weight.to(like), self.seen.to(device))


def _axis(share: Tensor, cells: int, *, flip: bool) -> _Axis:
    """Read points, as shares of the side that the cells cover."""
    seen = (share >= 0) & (share < 1)
    share = 1 - share if flip else share
    cell = (share * cells - 0.5).clamp(0, cells - 1)
    # Where centres coincide a value is taken as it is, whatever the rounding above has left.
    cell = torch.where((cell - cell.round()).abs() < 1e-9, cell.round(), cell)
    low = cell.floor().long()
    return _Axis(low, (low + 1).clamp(max=cells - 1), cell - low, seen)


def _shares_of_crop(places: int, length: int, start: int, extent: int) -> Tensor:
    """Points spread over an image side, as shares of [start, start + extent) of it."""
    position = (torch.arange(places, dtype=torch.float64) + 0.5) * (length / places)
    return (position - start) / extent


def _shares_of_image(places: int, length: int, start: int, extent: int) -> Tensor:
    """Points spread over [start, start + extent) of an image side, as shares of the side."""
    return (start + (torch.arange(places, dtype=torch.float64) + 0.5) * (extent / places)) / length


def _read(maps_Nhw: Tensor, rows: _Axis, columns: _Axis) -> tuple[Tensor, Tensor]:
    """Values of the maps at the points, 0 where they are not seen, and where they are."""
    rows, columns = rows.to(maps_Nhw), columns.to(maps_Nhw)
    seen_HW = rows.seen[:, None] & columns.seen
    high_NHw = torch.lerp(maps_Nhw[:, rows.low], maps_Nhw[:, rows.high], rows.weight[:, None])
    if torch.is_grad_enabled() and maps_Nhw.requires_grad:
        return _across(high_NHw, columns) * seen_HW, seen_HW
    out_NHW = maps_Nhw.new_empty(len(maps_Nhw), *seen_HW.shape)
    step = max(1, STRIP // max(1, len(maps_Nhw) * seen_HW.shape[1]))
    for top in range(0, len(seen_HW), step):
        part = slice(top, top + step)
        torch.mul(_across(high_NHw[:, part], columns), seen_HW[part], out=out_NHW[:, part])
    return out_NHW, seen_HW


def _across(maps_NHw: Tensor, columns: _Axis) -> Tensor:
    # Four times as fast as indexing, which an image of many pixels feels.
    low, high = maps_NHw.index_select(-1, columns.low), maps_NHw.index_select(-1, columns.high)
    return torch.lerp(low, high, columns.weight)
