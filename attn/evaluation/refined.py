"""Refines the maps of a data set's images, whatever they are from."""

from __future__ import annotations

__all__ = ["MapRefinement"]

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.geometry import Geometry
from attn.data.source import Source
from attn.evaluation.inference import LARGE, ImageMaps, MapsOnDemand
from attn.maps.refine import RefinementConfig, Refiner, at_grid, refine_by_class


@dataclass(frozen=True)
class MapRefinement:
    """A refiner, and the data set whose images it looks at."""

    refiner: Refiner
    source: Source

    @classmethod
    def of(cls, config: RefinementConfig | None, source: Source, device: torch.device) -> Self | None:
        """The refinement that a config asks for.

        Raises:
            AttnError: As `RefinementConfig.open`.
        """
        return None if config is None else cls(config.open(device), source)

    @property
    def description(self) -> dict[str, Any]:
        return self.refiner.description

    def described(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """The description, with that of a refinement that the maps have had before, if there was one."""
        return self.description | ({"after": before} if before else {})

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of maps over the whole image, on which nothing is lost of what is refined."""
        return self.refiner.store_grid

    def maps(self, position: int, maps: Mapping[int, NDArray[Any]]) -> dict[int, NDArray[np.float32]]:
        """Refine maps of the image at a position of the data; see `refine_by_class`.

        Raises:
            DataError: The image cannot be read.
        """
        if not maps:
            return {}
        return refine_by_class(self.refiner, self.source.load(position, mask=False, saliency=False).image, maps)

    def of_image(self, position: int, image: ImageMaps, grid: tuple[int, int] | None = None) -> ImageMaps:
        """Refine the maps of the image at a position of the data.

        Maps of the given labels are refined without those of further, predicted classes, which a refinement of all
        classes at once (the CRF) would make them depend on.

        Args:
            grid: Size (h, w) of the refined maps, instead of the image's own.

        Raises:
            DataError: The image cannot be read.
        """
        if not image.maps:
            return image
        pixels = self.source.load(position, mask=False, saliency=False).image
        given = {index: image.maps[index] for index in image.maps if index in image.record.labels}
        further = {index: image.maps[index] for index in image.maps if index not in image.record.labels}
        refined = refine_by_class(self.refiner, pixels, given) | refine_by_class(self.refiner, pixels, further)
        if grid is not None:
            return replace(image, maps={index: at_grid(values, grid) for index, values in refined.items()})
        height, width = pixels.shape[:2]
        tensors = {index: (torch.from_numpy(values),) for index, values in refined.items()}
        lazy = MapsOnDemand(tensors, Geometry.whole((height, width)), None)
        return replace(image, maps=lazy if len(lazy) * height * width > LARGE else dict(lazy))
