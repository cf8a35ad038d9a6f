"""The mapping between an image and the network's input, in both directions.

Shapes: N maps, H0×W0 image, H×W input, h×w map grid. Pixels are areas: the centre of pixel i is at i + 1/2.
"""

from __future__ import annotations

__all__ = ["Geometry"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

VALUES_AT_ONCE = 1 << 22
"""Values that are interpolated at once; else a map of a large image would be in memory four times."""


@dataclass(frozen=True)
class Geometry:
    """The part of an image that became the input.

    Attributes:
        image_size: (H0, W0).
        crop: (top, left, height, width) in whole pixels of the image; may extend beyond the image.
        size: (H, W) of the input, to which the crop is resized.
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
        """Return whether the input is exactly the whole image."""
        return tuple(self.crop) == (0, 0, *self.image_size)

    @classmethod
    def whole(cls, image_size: tuple[int, int], size: tuple[int, int] | None = None, *, flip: bool = False) -> Geometry:
        """The whole image, squashed to `size`."""
        return cls(image_size, (0, 0, *image_size), size or image_size, flip)

    def apply(
        self,
        image_CHW: Tensor,
        interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear",
        *,
        fill: Sequence[float] | float = 0,
    ) -> Tensor:
        """Transform an image, mask or map from the image's frame into the input's.

        Args:
            image_CHW: (C, H0, W0), uint8 or floating.
            interpolation: `bilinear` and `bicubic` use antialiasing when shrinking; `nearest` takes the value at the
                centre.
            fill: Value outside of the image, one for all channels or one per channel.

        Returns:
            (C, H, W) of the same dtype.
        """
        if tuple(image_CHW.shape[-2:]) != self.image_size:
            raise ValueError(
                f"image has shape {tuple(image_CHW.shape)}; expected (C, {self.image_size[0]}, {self.image_size[1]})"
            )
        crop_1CHW = self._crop_image(image_CHW, fill)[None]
        if tuple(crop_1CHW.shape[-2:]) == self.size:
            out_CHW = crop_1CHW[0]
        elif interpolation == "nearest":
            out_CHW = F.interpolate(crop_1CHW, self.size, mode="nearest-exact")[0]
        else:
            out_CHW = F.interpolate(crop_1CHW, self.size, mode=interpolation, align_corners=False, antialias=True)[0]
        return out_CHW.flip(-1) if self.flip else out_CHW

    def boxes(self, boxes_N4: Tensor) -> Tensor:
        """Transform boxes (left, top, right, bottom) from image pixels to input pixels, clipped to the input.

        Returns:
            (N, 4) in the same order; a box outside of the crop has no area.
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
        """Transform maps from the input's frame back into the image's: undo flip, resize and crop.

        Args:
            maps_Nhw: Maps on any grid over the input, floating.
            size: Output grid over the whole image; None: the image's pixels.
            rows: Rows of the output grid to compute.

        Returns:
            The maps, bilinear between cell centres and 0 outside of the crop, and a bool grid, True inside of the crop.
        """
        if maps_Nhw.ndim != 3 or not maps_Nhw.is_floating_point():
            raise ValueError(f"maps are {maps_Nhw.dtype} {tuple(maps_Nhw.shape)}; expected floating (N, h, w)")
        down, across = self._axes(size, maps_Nhw.shape[1], maps_Nhw.shape[2])
        return _read(maps_Nhw, down.part(rows), across)

    def covers_image(self, size: tuple[int, int] | None = None) -> bool:
        """Return whether the crop covers the whole image; `size` as in `to_image`."""
        rows, columns = self._axes(size, 1, 1)
        return bool(rows.seen.all()) and bool(columns.seen.all())

    def from_image(self, maps_Nhw: Tensor, size: tuple[int, int]) -> Tensor:
        """Transform maps from the image's frame into the input's; the inverse of `to_image`.

        Args:
            maps_Nhw: Maps on any grid over the whole image, floating.
            size: (h, w) of the output grid over the input.

        Returns:
            (N, h, w), bilinear between cell centres and 0 outside of the image.
        """
        if maps_Nhw.ndim != 3 or not maps_Nhw.is_floating_point():
            raise ValueError(f"maps are {maps_Nhw.dtype} {tuple(maps_Nhw.shape)}; expected floating (N, h, w)")
        top, left, height, width = self.crop
        rows = _axis(_shares_of_image(size[0], self.image_size[0], top, height), maps_Nhw.shape[1], flip=False)
        across = _shares_of_image(size[1], self.image_size[1], left, width)
        columns = _axis(across.flip(0) if self.flip else across, maps_Nhw.shape[2], flip=False)
        return _read(maps_Nhw, rows, columns)[0]

    def _axes(self, size: tuple[int, int] | None, h: int, w: int) -> tuple[_Axis, _Axis]:
        """Positions of an output grid over the image in an h×w grid over the input."""
        out_h, out_w = size or self.image_size
        top, left, height, width = self.crop
        rows = _axis(_shares_of_crop(out_h, self.image_size[0], top, height), h, flip=False)
        return rows, _axis(_shares_of_crop(out_w, self.image_size[1], left, width), w, flip=self.flip)

    def _crop_image(self, image_CHW: Tensor, fill: Sequence[float] | float) -> Tensor:
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
    """For each point of an axis: the two cells around it, the weight of the higher one, and whether it is inside."""

    low: Tensor
    high: Tensor
    weight: Tensor
    seen: Tensor

    def part(self, indices: slice) -> _Axis:
        return _Axis(self.low[indices], self.high[indices], self.weight[indices], self.seen[indices])

    def to(self, like: Tensor) -> _Axis:
        device = like.device
        return _Axis(self.low.to(device), self.high.to(device), self.weight.to(like), self.seen.to(device))


def _axis(share: Tensor, cells: int, *, flip: bool) -> _Axis:
    """Sampling positions for points given as fractions of the side that the cells cover."""
    seen = (share >= 0) & (share < 1)
    share = 1 - share if flip else share
    cell = (share * cells - 0.5).clamp(0, cells - 1)
    # Remove rounding errors: a point at a cell's centre gets exactly that cell's value.
    cell = torch.where((cell - cell.round()).abs() < 1e-9, cell.round(), cell)
    low = cell.floor().long()
    return _Axis(low, (low + 1).clamp(max=cells - 1), cell - low, seen)


def _shares_of_crop(count: int, length: int, start: int, extent: int) -> Tensor:
    """Evenly spaced points of an image side, as fractions of the crop [start, start + extent)."""
    position = (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count)
    return (position - start) / extent


def _shares_of_image(count: int, length: int, start: int, extent: int) -> Tensor:
    """Evenly spaced points of the crop [start, start + extent), as fractions of the image side."""
    return (start + (torch.arange(count, dtype=torch.float64) + 0.5) * (extent / count)) / length


def _read(maps_Nhw: Tensor, rows: _Axis, columns: _Axis) -> tuple[Tensor, Tensor]:
    """Interpolate maps at the points; 0 for points outside. Also returns the mask of points inside."""
    rows, columns = rows.to(maps_Nhw), columns.to(maps_Nhw)
    seen_HW = rows.seen[:, None] & columns.seen
    high_NHw = torch.lerp(maps_Nhw[:, rows.low], maps_Nhw[:, rows.high], rows.weight[:, None])
    if torch.is_grad_enabled() and maps_Nhw.requires_grad:
        return _across(high_NHw, columns) * seen_HW, seen_HW
    out_NHW = maps_Nhw.new_empty(len(maps_Nhw), *seen_HW.shape)
    step = max(1, VALUES_AT_ONCE // max(1, len(maps_Nhw) * seen_HW.shape[1]))
    for top in range(0, len(seen_HW), step):
        part = slice(top, top + step)
        torch.mul(_across(high_NHw[:, part], columns), seen_HW[part], out=out_NHW[:, part])
    return out_NHW, seen_HW


def _across(maps_NHw: Tensor, columns: _Axis) -> Tensor:
    # index_select is four times as fast as indexing.
    low, high = maps_NHw.index_select(-1, columns.low), maps_NHw.index_select(-1, columns.high)
    return torch.lerp(low, high, columns.weight)
