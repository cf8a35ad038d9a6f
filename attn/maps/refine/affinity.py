"""A random walk of maps along the attention of a frozen vision transformer, as in CLIP-ES (Lin et al., CVPR 2023).

Shapes: N maps of one image, g×g grid of the transformer's patches, P = g·g.
"""

from __future__ import annotations

__all__ = ["AffinityConfig", "box_mask", "transition", "walk"]

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from attn.config.base import Location
from attn.errors import Fault
from attn.files.nearest import missing_path
from attn.maps.refine.base import FAINTEST, RefinementConfig, Refiner, check_inputs, peak_one, resized
from attn.maps.refine.transformer import FrozenTransformer


class AffinityConfig(RefinementConfig):
    """Each map spreads to the patches that a transformer attends to together.

    The attention is the mean over the heads of the last `layers` blocks, from patch to patch. Its columns and rows are
    divided by their sums, `normalisations` times; the mean of the result and its transpose is a step of the walk.

    Attributes:
        model: A vision transformer of timm, `timm/NAME`.
        weights: Path or `s3://` URI of its state dict; `imagenet` for timm's own weights.
        layers: Number of blocks, counted from the last.
        normalisations: How often columns and rows are divided by their sums.
        steps: Steps of the walk.
        power: Exponent of the attention before its normalisation; above 1 only strong ties remain.
        size: Side of the transformer's input, a multiple of its patch; images are squashed to it.
        boxes: A map starts only inside the bounding boxes of what exceeds this share of its maximum (CLIP-ES: 0.4);
            null: everywhere.
        stretch: Stretch each refined map from its minimum to its maximum. Refined maps are flat and nowhere 0; one of
            equal values stays as it is.
    """

    name: Literal["affinity"] = "affinity"
    model: str = "timm/vit_small_patch14_dinov2"
    weights: Literal["imagenet"] | Location
    layers: int = Field(default=4, ge=1, le=200)
    normalisations: int = Field(default=1, ge=1, le=100)
    steps: int = Field(default=2, ge=1, le=100)
    power: float = Field(default=1.0, gt=0, le=10)
    size: int = Field(default=336, ge=1, le=2048)
    boxes: float | None = Field(default=None, gt=0, lt=1)
    stretch: bool = False

    def missing_files(self, prefix: str = "") -> Iterator[Fault]:
        yield from super().missing_files(prefix)
        if self.weights != "imagenet":
            yield from missing_path(f"{prefix}weights", self.weights)

    def open(self, device: torch.device) -> Refiner:
        transformer = FrozenTransformer.read(self.model, self.weights, size=self.size, layers=self.layers)
        return _Affinity(self, transformer).to(device)


def transition(attention_PP: Tensor, *, normalisations: int = 1, power: float = 1.0) -> Tensor:
    """One step of the walk: (P, P), symmetric.

    Args:
        attention_PP: Non-negative; row: the patch that attends.
    """
    matrix_PP = attention_PP if power == 1 else attention_PP.pow(power)
    least = torch.finfo(matrix_PP.dtype).tiny
    for _ in range(normalisations):
        matrix_PP = matrix_PP / matrix_PP.sum(0, keepdim=True).clamp_min(least)
        matrix_PP = matrix_PP / matrix_PP.sum(1, keepdim=True).clamp_min(least)
    return (matrix_PP + matrix_PP.T) / 2


def walk(maps_Nhw: Tensor, transition_PP: Tensor, steps: int) -> Tensor:
    """m Tᵏ for each map m, (N, h, w) on the grid of the patches; not normalised."""
    maps_NP = maps_Nhw.flatten(1)
    for _ in range(steps):
        maps_NP = maps_NP @ transition_PP
    return maps_NP.reshape(maps_Nhw.shape)


def box_mask(map_hw: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """True inside the bounding boxes of the 8-connected parts of a map above a share of its maximum."""
    mask = np.zeros(map_hw.shape, np.bool_)
    above = (map_hw > threshold * map_hw.max()).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    for left, top, width, height, _ in boxes[1:].tolist():  # the first is what is not above
        mask[top : top + height, left : left + width] = True
    return mask


@dataclass(frozen=True)
class _Affinity:
    config: AffinityConfig
    transformer: FrozenTransformer

    def to(self, device: torch.device) -> Self:
        return replace(self, transformer=self.transformer.to(device))

    @property
    def description(self) -> dict[str, Any]:
        values = self.config.model_dump(mode="json")
        # A path is another one on each machine; the digest is the same.
        return {**values, "weights": self.transformer.sha256}

    @property
    def store_grid(self) -> tuple[int, int]:
        return (self.transformer.side, self.transformer.side)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return self.store_grid

    def __call__(self, image_HW3: NDArray[np.uint8], maps_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
        check_inputs(image_HW3, maps_Nhw)
        config = self.config
        on_grid = resized(torch.from_numpy(np.ascontiguousarray(maps_Nhw, np.float32)), self.store_grid).numpy()
        if not on_grid.any():
            return np.zeros(on_grid.shape, np.float32)
        if config.boxes is not None:
            on_grid = on_grid * np.stack([box_mask(one, config.boxes) for one in on_grid])
        with torch.no_grad():
            attention_PP = self.transformer.attention(image_HW3)
            step_PP = transition(attention_PP, normalisations=config.normalisations, power=config.power)
            refined = walk(torch.from_numpy(on_grid).to(self.transformer.device), step_PP, config.steps).cpu().numpy()
        refined = peak_one(refined)
        return _stretched(refined) if config.stretch else refined


def _stretched(maps_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps with a maximum of 1, from their minimum to it; one of equal values, to eight bits, stays as it is."""
    low_N11 = maps_Nhw.min(axis=(1, 2), keepdims=True)
    varied = 1 - low_N11 >= FAINTEST
    return np.where(varied, peak_one(maps_Nhw - low_N11), maps_Nhw)
