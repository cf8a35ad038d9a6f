"""The configuration of an evaluation: a trained model's or a map store's own, changed where the user says so."""

from __future__ import annotations

__all__ = ["EvaluateModelConfig", "EvaluateStoreConfig"]

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Location
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.evaluation.config import ScoringConfig
from attn.maps.attention import MapKind
from attn.maps.settings import MapSettings, StoredMapSettings
from attn.tracking.model_lookup import ModelLookup


class EvaluateModelConfig(ModelLookup):
    """Scoring a trained model on data.

    Attributes:
        data, input: By default the validation split of the data that the model was trained on, and its own input.
        map_kind: The attention map to score; by default the one that the model was trained with.
        maps: How the maps are made; scores of the classifier itself are of scale 1.
        batch_size: Images of one forward pass.
        data_workers: Processes that load data, for each that scores; 0: it loads its own.
        record_in_training: Add the scores to the record of the model's training, if the server has it.
        device: `auto`: a GPU where there is one.
        panels: How many images are drawn with their maps.
        tasks: Ray processes that share the images, at most as many as there are cores, or GPUs where these are used.
            By default all is done in this process, or by a whole cluster if its address is given.
    """

    data: SourceConfig
    input: InputConfig = InputConfig()
    evaluation: ScoringConfig = ScoringConfig()
    map_kind: MapKind | None = None
    maps: MapSettings = MapSettings()
    batch_size: int = Field(default=16, ge=1, le=65_536)
    data_workers: int = Field(default=0, ge=0, le=256)
    record_in_training: bool = True
    device: Literal["auto", "cpu", "gpu"] = "auto"
    panels: int = Field(default=8, ge=0, le=200)
    tasks: int | None = Field(default=None, ge=1, le=4096)

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.evaluation.maps else {"evaluation.maps": ("map_kind", "maps")}


class EvaluateStoreConfig(ModelLookup):
    """Scoring the maps of a map store on data.

    Attributes:
        data: By default the data that the run was on in whose folder the store lies.
        predictions: Parquet file of the probabilities of every image, as `attn maps` writes it; by default the one that
            was written with the maps. Without any, only maps of given labels are scored.
        maps: How the stored maps are changed before they are scored.
        panels: How many images are drawn with their maps.
        tasks: As for a model.
    """

    data: SourceConfig
    evaluation: ScoringConfig = ScoringConfig()
    predictions: Location | None = None
    maps: StoredMapSettings = StoredMapSettings()
    panels: int = Field(default=8, ge=0, le=200)
    tasks: int | None = Field(default=None, ge=1, le=4096)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.evaluation.faithfulness is not None:
            raise ValueError(
                "evaluation.faithfulness asks a classifier about changed images, and a map store has none: score the "
                "trained model, or leave it out"
            )
        if self.evaluation.crops != "one":
            raise ValueError(
                "evaluation.crops asks a classifier about parts of images, and a map store has none: score the trained "
                "model, or leave it out"
            )
        return self
