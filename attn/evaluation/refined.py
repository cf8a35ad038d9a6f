"""Refines the maps of a data set's images, whatever they are from."""

from __future__ import annotations

__all__ = ["MapRefinement", "at_image", "described_after", "refine_by_labels", "refine_predicted"]

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.geometry import Geometry
from attn.data.source import Source
from attn.evaluation.inference import LARGE, ImageMaps, MapsOnDemand
from attn.maps.refine import RefinementConfig, Refiner, at_grid, is_joint, refine_by_class


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
        return described_after(self.refiner, before)

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

    def of_image(
        self,
        position: int,
        image: ImageMaps,
        grid: tuple[int, int] | None = None,
        *,
        predicted: Collection[int] = (),
    ) -> ImageMaps:
        """Refine the maps of the image at a position of the data: see `refine_by_labels`.

        Args:
            grid: Size (h, w) of the refined maps, instead of the image's own.
            predicted: Classes whose maps are to be scored as predicted ones: see `refine_predicted`.

        Raises:
            DataError: The image cannot be read.
        """
        if not image.maps:
            return image
        pixels = self.source.load(position, mask=False, saliency=False).image
        labels = image.record.labels
        maps = self._at(grid, pixels, refine_by_labels(self.refiner, pixels, image.maps, labels))
        apart = refine_predicted(self.refiner, pixels, image.maps, labels, predicted)
        return replace(image, maps=maps, predicted_maps=None if apart is None else self._at(grid, pixels, apart))

    @staticmethod
    def _at(
        grid: tuple[int, int] | None, pixels: NDArray[np.uint8], refined: Mapping[int, NDArray[np.float32]]
    ) -> Mapping[int, NDArray[np.float32]]:
        """Refined maps on a grid, or at the size of their image."""
        if grid is not None:
            return {index: at_grid(values, grid) for index, values in refined.items()}
        height, width = pixels.shape[:2]
        lazy = at_image(refined, (height, width))
        return lazy if len(lazy) * height * width > LARGE else dict(lazy)


def at_image(refined: Mapping[int, NDArray[np.float32]], size: tuple[int, int]) -> MapsOnDemand:
    """Refined maps (h, w) at the size (H0, W0) of their image, each again with a maximum of 1."""
    tensors = {index: (torch.from_numpy(values),) for index, values in refined.items()}
    return MapsOnDemand(tensors, Geometry.whole(size), None)


def described_after(refiner: Refiner, before: dict[str, Any] | None) -> dict[str, Any]:
    """A refiner's description, with that of a refinement that the maps have had before, if there was one."""
    return refiner.description | ({"after": before} if before else {})


def refine_by_labels(
    refiner: Refiner, image_HW3: NDArray[np.uint8], maps: Mapping[int, NDArray[Any]], labels: Collection[int]
) -> dict[int, NDArray[np.float32]]:
    """Refine maps, those of the given labels without those of further classes.

    A refinement of all classes at once (the CRF) would make the former depend on the latter.
    """
    given = {index: maps[index] for index in maps if index in labels}
    further = {index: maps[index] for index in maps if index not in labels}
    return refine_by_class(refiner, image_HW3, given) | refine_by_class(refiner, image_HW3, further)


def refine_predicted(
    refiner: Refiner,
    image_HW3: NDArray[np.uint8],
    maps: Mapping[int, NDArray[Any]],
    labels: Collection[int],
    predicted: Collection[int],
) -> dict[int, NDArray[np.float32]] | None:
    """Refine the maps of the predicted classes without any others, so that they do not depend on the given labels.

    Returns:
        None if they are the same after `refine_by_labels`.
    """
    likely = {index: maps[index] for index in maps if index in predicted}
    given = {index for index in maps if index in labels}
    if not is_joint(refiner.description) or likely.keys() in (given, maps.keys() - given):
        return None
    return refine_by_class(refiner, image_HW3, likely)
