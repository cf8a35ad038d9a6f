"""What all refiners of maps have in common.

Shapes: N maps of one image, h×w grid over the whole image, H×W image.
"""

from __future__ import annotations

__all__ = [
    "FAINTEST",
    "STORE_SIDE",
    "RefinementConfig",
    "Refiner",
    "at_grid",
    "check_inputs",
    "fitted",
    "image_at",
    "is_joint",
    "peak_one",
    "refine_by_class",
    "resized",
]

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from attn.config.base import Variant

STORE_SIDE = 128
"""Longest side of refined maps in a map store; it holds 10,000 of them in 160 MB, before compression."""
FAINTEST = 1 / 510
"""Of values up to 1, a lower one is zero in eight bits."""


class Refiner(Protocol):
    """Refines maps along what is seen in their image. It can be pickled, and used by several threads.

    Attributes:
        description: Everything that the result depends on, in plain values, for protocols and records.
    """

    @property
    def description(self) -> dict[str, Any]: ...

    def __call__(self, image_HW3: NDArray[np.uint8], maps_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Refine the maps of one image.

        Args:
            image_HW3: RGB, in the image's own frame.
            maps_Nhw: In [0, 1], on any grid over the whole image.

        Returns:
            (N, *grid((H, W))), each with a maximum of 1; a map that is zero everywhere stays zero.

        Raises:
            ValueError: The image is not uint8 (H, W, 3), or the maps are not (N, h, w) in [0, 1].
        """
        ...

    def to(self, device: torch.device) -> Self:
        """The same refiner on a device."""
        ...

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the refined maps of an image of (H, W)."""
        ...

    @property
    def store_grid(self) -> tuple[int, int]:
        """(h, w) of the refined maps in a map store, which has one grid for all images."""
        ...


class RefinementConfig(Variant, tag="name"):
    """Refinement of maps along what is seen in their image; `name` selects how."""

    joint: ClassVar[bool] = False
    """Whether a class's refined map depends on which other classes are refined with it."""

    def open(self, device: torch.device) -> Refiner:
        """Read what the refinement needs.

        Raises:
            AttnError: A network or its weights cannot be had, or do not fit the config.
        """
        raise TypeError(f"{type(self).__name__} does not say how it refines")


def is_joint(description: Mapping[str, Any] | None) -> bool:
    """Whether maps of a described refinement, or of one before it, depend on which classes were refined together."""
    while description:
        member = RefinementConfig.members.get(description["name"])
        if member is not None and member.joint:
            return True
        description = description.get("after")
    return False


def refine_by_class(
    refiner: Refiner, image_HW3: NDArray[np.uint8], maps: Mapping[int, NDArray[Any]]
) -> dict[int, NDArray[np.float32]]:
    """Refine an image's maps, which are given by class index, non-negative in any unit, on one grid.

    Returns:
        float32 (h, w) by class index, on the refiner's grid for the image.
    """
    if not maps:
        return {}
    stack_Nhw = np.stack([np.asarray(values, np.float32) for values in maps.values()])
    peak_N11 = stack_Nhw.max(axis=(1, 2), keepdims=True)
    stack_Nhw /= np.where(peak_N11 > 0, peak_N11, 1)
    return dict(zip(maps, refiner(image_HW3, stack_Nhw), strict=True))


def check_inputs(image_HW3: NDArray[Any], maps_Nhw: NDArray[Any]) -> None:
    """Raise ValueError unless image and maps are as `Refiner` takes them."""
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8 or 0 in image_HW3.shape:
        raise ValueError(f"expected a uint8 image (H, W, 3), got {image_HW3.dtype} {image_HW3.shape}")
    if maps_Nhw.ndim != 3 or 0 in maps_Nhw.shape[1:]:
        raise ValueError(f"maps must have the shape (N, h, w), not {maps_Nhw.shape}")
    if len(maps_Nhw) and not (maps_Nhw.min() >= 0 and maps_Nhw.max() <= 1 + 1e-4):  # NaN fails the comparison as well
        raise ValueError(f"maps must be in [0, 1], got {maps_Nhw.min()} to {maps_Nhw.max()}")


def fitted(image_size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size of an image that is reduced to a longest side; smaller images keep theirs."""
    scale = min(1.0, longest / max(image_size))
    return max(1, round(image_size[0] * scale)), max(1, round(image_size[1] * scale))


def image_at(image_HW3: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image reduced to a size."""
    if image_HW3.shape[:2] == size:
        return image_HW3
    return np.asarray(cv2.resize(image_HW3, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


def resized(maps_Nhw: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps on another grid: bilinear, with antialiasing where the grid is coarser."""
    if tuple(maps_Nhw.shape[1:]) == size or not len(maps_Nhw):
        return maps_Nhw if len(maps_Nhw) else maps_Nhw.new_zeros((0, *size))
    on_grid = functional.interpolate(maps_Nhw[:, None], size, mode="bilinear", align_corners=False, antialias=True)
    return on_grid[:, 0].clamp(0, 1)


def at_grid(map_hw: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """A refined map on another grid, again with a maximum of 1."""
    return peak_one(resized(torch.from_numpy(map_hw)[None], grid).numpy())[0]


def peak_one(maps_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each map by its maximum, however small; one that is zero everywhere stays zero."""
    peak_N11 = maps_Nhw.max(axis=(1, 2), keepdims=True, initial=0)
    return (maps_Nhw / np.where(peak_N11 > 0, peak_N11, 1)).astype(np.float32)
