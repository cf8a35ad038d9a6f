"""Stages of a pipeline: the inputs, which decide whether a stage is repeated, and the run."""

from __future__ import annotations

__all__ = ["Stage", "StageContext", "config_inputs", "refinement_inputs", "training_inputs"]

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from attn.config.base import Config, is_remote
from attn.data.content import Part, file_mark
from attn.data.source import SourceConfig
from attn.data.source_cache import SourceCache
from attn.data.sources.coco import CocoConfig
from attn.data.sources.folder import FolderConfig
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.look_alikes import LookAlikesConfig
from attn.data.sources.manifest import ManifestConfig
from attn.data.sources.voc import VocConfig
from attn.data.transforms import InputConfig
from attn.files.locations import sha256_of
from attn.maps.refine import RefinementConfig
from attn.maps.settings import MapSettings, StoredMapSettings
from attn.methods.attnbn import AttnBNConfig
from attn.methods.gain import GainConfig
from attn.models.network import ModelConfig
from attn.models.weights import weights_file
from attn.runs.pipeline import PipelineConfig
from attn.saliency.config import SaliencySettings
from attn.segmentation.config import SegmentPredictConfig
from attn.segmentation.labels import CueLabels
from attn.segmentation.networks import SegmentationModelConfig
from attn.training.config import CheckpointConfig, ClusterConfig, TrainingConfig, ValidationConfig
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs.runs.run_folder import RunFolder
from jobs.runs.same_run import NOT_INPUTS, as_before
from jobs.stages.outputs import PipelineOutputs, StageOutputs

ADDED: Mapping[type[Config], tuple[str, ...]] = {
    AttnBNConfig: ("source_images",),
    CheckpointConfig: ("best",),
    ClusterConfig: ("gpus_per_worker", "storage_patience"),
    TrainingConfig: ("class_weights", "early_stopping", "sampling"),
    SourceConfig: ("max_pixels", "exclusive"),
    CocoConfig: ("classes", "negatives"),
    FolderConfig: ("mask_classes",),
    GainConfig: ("extra_absent", "extra_choice", "extra_ids", "extra_list"),
    InputConfig: ("interpolation", "longest_side"),
    LookAlikesConfig: ("annotation", "context_bias"),
    ManifestConfig: ("mask_classes", "negatives"),
    ModelConfig: ("factory",),
    SegmentationModelConfig: ("factory",),
    SegmentPredictConfig: ("tasks",),
    MapSettings: ("scales", "flip"),
    ScenesConfig: ("annotation",),
    StoredMapSettings: ("refine",),
    ValidationConfig: ("maps",),
    VocConfig: ("classes", "negatives"),
    SaliencySettings: ("saliency_model", "saliency_sha256", "saliency_threshold"),
    CueLabels: ("threshold",),
}
"""Fields that version 0.1 did not have: at their defaults they are no inputs, so that its stages are not repeated."""


@dataclass(frozen=True)
class StageContext:
    """Input of a stage.

    Attributes:
        outputs: Of the stages before.
        data: Gives a data set's fingerprint, and the digest of those of its files that a stage reads.
        sources: The pipeline's data sets. A set is built once with its labels and once without, where both are used.
        address: A Ray cluster to join.
    """

    config: PipelineConfig
    outputs: PipelineOutputs
    data: Callable[[SourceConfig, tuple[Part, ...]], dict[str, str]]
    sources: SourceCache
    address: str | None = None


class Stage(Protocol):
    """One stage.

    Attributes:
        outputs: The class of its outputs.
        on_ray: Whether it needs a Ray session.
    """

    @property
    def outputs(self) -> type[StageOutputs]: ...

    @property
    def on_ray(self) -> bool: ...

    def inputs(self, context: StageContext) -> dict[str, Any]:
        """Everything that the result depends on, as plain values: equal inputs, equal result."""
        ...

    def run(self, context: StageContext, folder: RunFolder) -> StageOutputs:
        """Do it in a folder, or continue what was interrupted there."""
        ...


def config_inputs(config: Config, exclude: Set[str] = NOT_INPUTS) -> dict[str, Any]:
    """A config as plain values, as version 0.1 has them: without fields of `ADDED` at their defaults.

    Fields that are no inputs are left out as well.
    """
    values = as_before(config.model_dump(mode="json", exclude=set(exclude)))
    _drop_added(config, values)
    return values


def _drop_added(config: Config, values: dict[str, Any]) -> None:
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        added = any(name in ADDED[owner] for owner in ADDED if isinstance(config, owner))
        if added and value == field.default:
            del values[name]
        elif name in values and isinstance(value, Config):
            _drop_added(value, values[name])


def training_inputs(config: RunConfig, context: StageContext) -> dict[str, Any]:
    """Inputs of a training: config, data and initial weights."""
    inputs: dict[str, Any] = {"config": config_inputs(config)}
    if (refine := config.validation.maps.refine) is not None:
        inputs["config"]["validation"]["maps"]["refine"] = refinement_inputs(refine)
    parts: tuple[Part, ...] = ("image",)
    if isinstance(config, TrainConfig):
        if config.method.build().supervision is not None:
            parts += ("mask",)
        if isinstance(config.method, GainConfig) and (listed := config.method.extra_list) is not None:
            inputs["config"]["method"]["extra_list"] = _mark(listed)
        if (stream := config.method.source_stream) is not None:
            seen: tuple[Part, ...] = ("image", "saliency") if stream.saliency else ("image",)
            inputs["companion"] = context.data(stream.source, seen)  # the name in hashes of stages that are there
    inputs["data"] = context.data(config.data, parts)
    weights = inputs["config"]["model"].get("weights")
    if isinstance(weights, str) and weights != "imagenet":
        inputs["weights"] = _mark(weights_file(weights))
    return inputs


def refinement_inputs(config: RefinementConfig | None) -> dict[str, Any] | None:
    """A refinement as plain values, with the content of its weights in place of their location."""
    if config is None:
        return None
    values = config.model_dump(mode="json")
    weights = values.get("weights")
    return values | ({"weights": _mark(weights)} if isinstance(weights, str) and weights != "imagenet" else {})


def _mark(file: str) -> str | None:
    """A text that tells whether a file is the same; None where there is no file."""
    if is_remote(file):
        return file_mark(file)
    return sha256_of(Path(file)) if Path(file).is_file() else None
