"""The configuration of writing a trained model's maps."""

from __future__ import annotations

__all__ = ["MapsConfig", "OutputConfig", "PngOutput", "StoreOutput", "StoredMapsConfig", "of_maps"]

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from attn.config.base import Location, Variant
from attn.config.document import PlacedOverride
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.maps.attention import MapKind
from attn.maps.refine import RefinementConfig
from attn.maps.settings import MapSettings
from attn.tracking.model_lookup import ModelLookup

Side = Annotated[int, Field(ge=1, le=4096)]


class OutputConfig(Variant, tag="kind"):
    """Target that maps are written to; `kind` selects it."""


class StoreOutput(OutputConfig):
    """A version of a map store.

    Attributes:
        location: Folder or `s3://` prefix; the job's own folder where it is not given. A store that is there already
            must be of the same rows, classes and grid.
        grid: (height, width) of every map, over the whole image; what the network gives at the largest scale where it
            is not given.
    """

    kind: Literal["store"] = "store"
    location: Location | None = None
    grid: tuple[Side, Side] | None = None


class PngOutput(OutputConfig):
    """Grey PNGs at the images' size, `<image id>_<class index>.png`, as published OAA has them.

    Attributes:
        location: Folder or `s3://` prefix; the job's own folder where it is not given.
    """

    kind: Literal["png"] = "png"
    location: Location | None = None


class MapsConfig(MapSettings, ModelLookup):
    """Writing the maps of a trained model for data.

    Attributes:
        data, input: By default the training split of the data that the model was trained on, and its own input.
        map_kind, layer: By default what the model was trained with.
        classes: Whose maps: those of the image's `labels`, of the `predicted` classes, or `both`.
        probability: From which probability on (exclusive) a class counts as predicted.
        batch_size: Images of one forward pass.
        data_workers: Processes that load data, for each that predicts; 0: it loads its own.
        device: `auto`: a GPU where there is one.
        tasks: Ray processes that share the images, at most as many as there are cores, or GPUs where these are used.
            By default all is done in this process, or by a whole cluster if its address is given.
    """

    data: SourceConfig
    input: InputConfig = InputConfig()
    map_kind: MapKind | None = None
    layer: str | None = None
    classes: Literal["labels", "predicted", "both"] = "labels"
    probability: float = Field(default=0.5, gt=0, lt=1)
    output: OutputConfig = StoreOutput()
    batch_size: int = Field(default=16, ge=1, le=65_536)
    data_workers: int = Field(default=0, ge=0, le=256)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    tasks: int | None = Field(default=None, ge=1, le=4096)

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {"classes": ("probability",)} if self.classes == "labels" else {}


class StoredMapsConfig(ModelLookup):
    """Refining the maps of a map store into another one.

    Attributes:
        data: By default the data that the run was on in whose folder the store lies.
        refine: How the maps are refined.
        device: `auto`: a GPU where there is one.
        tasks: As for the maps of a model.
    """

    data: SourceConfig
    refine: RefinementConfig
    output: StoreOutput = StoreOutput()
    device: Literal["auto", "cpu", "gpu"] = "auto"
    tasks: int | None = Field(default=None, ge=1, le=4096)


def of_maps(overrides: Iterable[str]) -> list[str]:
    """Overrides of the command `attn maps`, where `maps.scales=X`, as everywhere else, is short for `scales=X`."""
    return [_of_maps(text) if text.startswith("maps.") else text for text in overrides]


def _of_maps(text: str) -> str:
    plain = text.removeprefix("maps.")
    return PlacedOverride.at(text.location, plain, text.fault) if isinstance(text, PlacedOverride) else plain
