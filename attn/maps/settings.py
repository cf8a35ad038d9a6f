"""How attention maps are made: at which scales, whether of mirrored images too, and how they are refined."""

from __future__ import annotations

__all__ = ["PLAIN", "MapSettings", "StoredMapSettings"]

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, field_validator

from attn.config.base import Config
from attn.maps.refine import RefinementConfig

LARGEST_SCALE = 8
"""An input of this scale has 64 times the pixels."""
MOST_SCALES = 16
Scale = Annotated[float, Field(gt=0, le=LARGEST_SCALE)]


class StoredMapSettings(Config):
    """How maps that are there already are changed.

    Attributes:
        refine: Refinement along what is seen in the images; null: none.
    """

    refine: RefinementConfig | None = None


class MapSettings(StoredMapSettings):
    """How the maps of a trained classifier are made.

    With several scales, or mirrored images, the maps of each are resized to the image and added, and the sum is divided
    by its maximum (as in IRN, Ahn et al., CVPR 2019). Each scale and each mirrored image costs a pass of the network.

    Attributes:
        scales: Sizes of the network's input, as factors of `input.size`; [0.5, 1, 1.5, 2] is usual. Sides are rounded
            to whole strides of the network, beyond which is left what `input.size` leaves.
        flip: Also use each input mirrored left to right.
    """

    scales: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=MOST_SCALES, strict=False)] = (1.0,)
    flip: bool = False

    @field_validator("scales")
    @classmethod
    def _in_order(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        """Rising, so that the order in which they are given is no part of a score's protocol."""
        if twice := [scale for scale in sorted(set(scales)) if scales.count(scale) > 1]:
            raise ValueError(f"has {twice[0]:g} twice: give each scale once")
        return tuple(sorted(scales))

    @property
    def other_scales(self) -> tuple[float, ...]:
        """The scales besides 1, at which images are also put into the network."""
        return tuple(scale for scale in self.scales if scale != 1)

    def changes(self) -> dict[str, Any]:
        """The settings that are not the defaults, as plain values."""
        fields = MapSettings.model_fields  # a section that inherits them has others
        values = self.model_dump(mode="json", include=set(fields))
        return {name: values[name] for name in fields if getattr(self, name) != fields[name].default}

    def described(self) -> dict[str, Any]:
        """As `changes`, for records and descriptions of maps; a refinement describes itself."""
        return {name: value for name, value in self.changes().items() if name != "refine"}

    @classmethod
    def of_described(cls, described: Mapping[str, Any]) -> Self:
        """The settings in a description of maps that `described` is a part of; what it lacks is at its default."""
        return cls.model_validate({name: described[name] for name in ("scales", "flip") if name in described})

    def protocol(self) -> dict[str, Any]:
        """The fields of a score's protocol; at the defaults the protocol has its former hash."""
        return {"scales": self.scales, "flip": True if self.flip else None}


PLAIN = MapSettings()
"""The defaults: the input as it is."""
