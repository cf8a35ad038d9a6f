"""Outputs of a pipeline's stages, as kept in `stage.json` in each stage's folder."""

from __future__ import annotations

__all__ = [
    "CuesOutputs",
    "EvaluationOutputs",
    "MapsOutputs",
    "PipelineOutputs",
    "StageOutputs",
    "TrainOutputs",
    "cues_digest",
    "png_digest",
    "scores_digest",
    "store_digest",
    "weights_digest",
]

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from attn import store
from attn.display import percent
from attn.errors import AttnError, StorageAwayError
from attn.files.locations import join, list_below, read_bytes
from attn.files.transfer import exists
from attn.models.description import WEIGHTS
from attn.parsing import load_json
from attn.score_names import current_names
from attn.segmentation.labels import CUES_FILE
from attn.wording import counted

SHOWN = {
    "val/mean_ap": "mAP",
    "val/miou": "val mIoU",
    "coverage": "coverage",
    "precision": "precision",
    "miou": "mIoU",
    "miou_crf": "mIoU with CRF",
}
"""Scores that a line for a person names, all of them shares."""
Outputs = TypeVar("Outputs", bound="StageOutputs")


class StageOutputs(BaseModel, ABC):
    """Files of a stage, their digests, and scores."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self | None:
        """The outputs in a `stage.json`; None where they are damaged, or the files are gone or not the same.

        Raises:
            StorageAwayError: Nothing is known of the files.
        """
        try:
            outputs = cls.model_validate(values)
            return outputs if outputs.is_intact() else None
        except StorageAwayError:
            raise
        except (ValidationError, AttnError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged record names anything

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `stage.json`."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @abstractmethod
    def is_intact(self) -> bool:
        """Return whether the files are still there and have the digests that were noted."""

    @abstractmethod
    def summary(self) -> str:
        """The result in a few words."""


class TrainOutputs(StageOutputs):
    """A trained model, and the map store of a training that accumulates.

    Attributes:
        metrics: Of the last epoch.
        weights: SHA-256 of the model's weights.
    """

    model: str
    metrics: dict[str, float | None]
    weights: str | None
    store: str | None = None
    store_version: int | None = None
    store_digest: str | None = Field(default=None, validation_alias="stored", serialization_alias="stored")

    @field_validator("metrics")
    @classmethod
    def _current_names(cls, metrics: dict[str, float | None]) -> dict[str, float | None]:
        return current_names(metrics)

    def is_intact(self) -> bool:
        same_store = self.store is None or store_digest(self.store, self.store_version) == self.store_digest
        return weights_digest(self.model) == self.weights and same_store

    def summary(self) -> str:
        return _shares(self.metrics)


class MapsOutputs(StageOutputs):
    """Attention maps: a folder of PNGs, or a version of a map store.

    Attributes:
        images, maps: How many.
    """

    png: str | None = None
    png_digest: str | None = Field(default=None, validation_alias="drawn", serialization_alias="drawn")
    store: str | None = None
    store_version: int | None = None
    store_digest: str | None = Field(default=None, validation_alias="stored", serialization_alias="stored")
    images: int
    maps: int

    @classmethod
    def of_store(cls, store: str, version: int | None, *, images: int, maps: int) -> Self:
        """Maps in a version of a map store, with its digest."""
        digest = store_digest(store, version)
        return cls(store=store, store_version=version, store_digest=digest, images=images, maps=maps)

    def is_intact(self) -> bool:
        if self.png is not None:
            return png_digest(self.png) == self.png_digest
        return self.store is not None and store_digest(self.store, self.store_version) == self.store_digest

    def summary(self) -> str:
        return f"{counted(self.maps, 'map')} of {counted(self.images, 'image')}"


class CuesOutputs(StageOutputs):
    """Cues.

    Attributes:
        cues: Folder of the PNGs.
        files: How many files are in it.
        quality: Against the masks; empty where there are none.
        saliency, threshold: Origin of the saliency, and how the threshold of the maps was chosen, in words; None in
            records of earlier versions.
        notes: What to know of the quality; empty in records of earlier versions.
    """

    cues: str
    files: int
    cues_digest: str = Field(validation_alias="cued", serialization_alias="cued")
    quality: dict[str, float]
    saliency: str | None = None
    threshold: str | None = None
    notes: tuple[str, ...] = ()

    def is_intact(self) -> bool:
        return cues_digest(self.cues) == self.cues_digest and len(list_below(self.cues)) >= self.files

    def summary(self) -> str:
        quality = _shares(self.quality) or "no masks to hold the cues against"
        return "; ".join([quality, *self.notes, *(f"{name} {words}" for name, words in self.origin().items())])

    def origin(self) -> dict[str, str]:
        """Where saliency and threshold are from, in words, by name; empty of earlier versions."""
        words = {"saliency": self.saliency, "threshold": self.threshold}
        return {name: text for name, text in words.items() if text is not None}


class EvaluationOutputs(StageOutputs):
    """Scores of the segmentation network.

    Attributes:
        masks: Folder of the masks; None where they were not kept.
        protocols: Hash of each score's protocol.
        notes: What to know of the scores; empty in records of earlier versions.
    """

    scores_file: str
    scores: dict[str, float]
    masks: str | None
    scores_digest: str = Field(validation_alias="scored", serialization_alias="scored")
    protocols: dict[str, str]
    images: int
    notes: tuple[str, ...] = ()

    def is_intact(self) -> bool:
        return scores_digest(self.scores_file) == self.scores_digest

    def summary(self) -> str:
        return "; ".join([_shares(self.scores) or "no masks to score against", *self.notes])


@dataclass(frozen=True)
class PipelineOutputs:
    """Outputs of the stages that are done, by the stages' names."""

    done: Mapping[str, StageOutputs]

    @property
    def train(self) -> TrainOutputs:
        return self._of("train", TrainOutputs)

    @property
    def classifier(self) -> TrainOutputs:
        """The classifier whose maps become cues."""
        return self._of("integral" if "integral" in self.done else "train", TrainOutputs)

    @property
    def accumulated(self) -> MapsOutputs | TrainOutputs:
        """The maps that `train` accumulated, refined where they are."""
        return self._of("refine", MapsOutputs) if "refine" in self.done else self.train

    @property
    def attention(self) -> MapsOutputs | TrainOutputs:
        """The maps that cues are made of."""
        if "maps" in self.done:
            return self._of("maps", MapsOutputs)
        return self.classifier if "integral" in self.done else self.accumulated

    @property
    def cues(self) -> CuesOutputs:
        return self._of("cues", CuesOutputs)

    @property
    def segment(self) -> TrainOutputs:
        return self._of("segment", TrainOutputs)

    @property
    def segmenter(self) -> TrainOutputs:
        """The segmentation network that is scored."""
        return self._of("retrain" if "retrain" in self.done else "segment", TrainOutputs)

    @property
    def evaluation(self) -> EvaluationOutputs:
        return self._of("evaluation", EvaluationOutputs)

    def _of(self, stage: str, kind: type[Outputs]) -> Outputs:
        outputs = self.done[stage]
        assert isinstance(outputs, kind), "each stage has its class of outputs"
        return outputs


def weights_digest(model: str) -> str | None:
    """SHA-256 of a model's weights, as its `model.json` says; None where they are gone."""
    described = load_json(read_bytes(f"{model}/model.json"))
    return str(described["sha256"]) if exists(f"{model}/{WEIGHTS}") else None


def store_digest(location: str, version: int | None) -> str:
    """Digest of a version of a map store."""
    return store.open(location).at(version).digest()


def png_digest(folder: str) -> str:
    """SHA-256 over the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for name in list_below(folder):
        digest.update(f"{name}\n".encode() + hashlib.sha256(read_bytes(join(folder, name))).digest())
    return digest.hexdigest()


def cues_digest(folder: str) -> str:
    """Digest of cues, as their report says."""
    return str(load_json(read_bytes(f"{folder}/{CUES_FILE}"))["digest"])


def scores_digest(file: str) -> str:
    """SHA-256 of a file of scores."""
    return hashlib.sha256(read_bytes(file)).hexdigest()


def _shares(values: Mapping[str, float | None]) -> str:
    shown = {name: value for name, value in values.items() if name in SHOWN and isinstance(value, float)}
    return ", ".join(f"{label} {percent(shown[name])} %" for name, label in SHOWN.items() if name in shown)
