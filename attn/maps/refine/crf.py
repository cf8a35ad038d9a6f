"""The dense CRF as a refinement of maps: their probabilities against a constant score of the background."""

from __future__ import annotations

__all__ = ["CrfRefinementConfig"]

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from attn.maps.dense_crf import OAA_CRF, CrfConfig, dense_crf
from attn.maps.refine.base import (
    FAINTEST,
    STORE_SIDE,
    RefinementConfig,
    Refiner,
    check_inputs,
    fitted,
    image_at,
    peak_one,
    resized,
)


class CrfRefinementConfig(RefinementConfig):
    """Each map becomes its class's probability after a dense CRF.

    Before it, a class has its map's value and the background a constant, both divided by the sum of all.

    Attributes:
        background: Score of the background.
        crf: Parameters of the CRF; its distances are in pixels of the grid.
        size: Longest side of the grid to which image and maps are brought; a smaller image keeps its size.
    """

    joint: ClassVar[bool] = True
    name: Literal["crf"] = "crf"
    background: float = Field(default=0.3, gt=0, le=1)
    crf: CrfConfig = OAA_CRF
    size: int = Field(default=500, ge=1, le=2048)

    def open(self, device: torch.device) -> Refiner:
        return _Crf(self)


@dataclass(frozen=True)
class _Crf:
    config: CrfRefinementConfig

    def to(self, device: torch.device) -> Self:
        return self

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
        maps_NHW = resized(torch.from_numpy(np.ascontiguousarray(maps_Nhw, np.float32)), size).numpy()
        named = maps_NHW.any(axis=(1, 2))
        refined = np.zeros_like(maps_NHW)
        if named.any():
            scores = np.concatenate([np.full((1, *size), self.config.background, np.float32), maps_NHW[named]])
            refined[named] = dense_crf(image_at(image_HW3, size), scores / scores.sum(0), self.config.crf)[1:]
        refined[refined.max(axis=(1, 2), initial=0) < FAINTEST] = 0  # the CRF gives the class nothing
        return peak_one(refined)
