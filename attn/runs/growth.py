"""The configuration of pictures of a store's growth."""

from __future__ import annotations

__all__ = ["GrowthConfig"]

from typing import Annotated

from pydantic import Field

from attn.config.base import Location
from attn.data.sources import SourceConfig
from attn.tracking.model_lookup import ModelLookup


class GrowthConfig(ModelLookup):
    """Drawing how cumulative maps grew.

    Attributes:
        data: By default the data that the run was on in whose folder the store lies.
        run: Which run of the store; by default the one that its newest version is of.
        images: How many are drawn, spread evenly over the data; or which, by name.
        columns: How many states of an image are drawn at most.
        folder: Where the pictures go; by default `growth` beside the store.
    """

    data: SourceConfig
    run: str | None = None
    images: Annotated[int, Field(ge=1)] | tuple[str, ...] = 8
    columns: int = Field(default=6, ge=1, le=40)
    folder: Location | None = None
