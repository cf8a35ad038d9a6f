"""Stages of a pipeline: the inputs, which decide whether a stage is repeated, and the run."""

from __future__ import annotations

__all__ = ["Stage", "StageContext", "config_inputs", "training_inputs"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from attn.config.base import Config, is_remote
from attn.data.content import Part, file_mark
from attn.data.source import SourceConfig
from attn.data.source_cache import SourceCache
from attn.files.locations import sha256_of
from attn.models.weights import weights_file
from attn.runs.pipeline import PipelineConfig
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import PipelineOutputs, StageOutputs

NOT_INPUTS = {"root", "tracking", "record_in_training"}
"""Fields that say where results are written."""


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


def config_inputs(config: Config) -> dict[str, Any]:
    """A config without the fields that say where results are written, as plain values."""
    return config.model_dump(mode="json", exclude=NOT_INPUTS)


def training_inputs(config: RunConfig, context: StageContext) -> dict[str, Any]:
    """Inputs of a training: config, data and initial weights."""
    inputs: dict[str, Any] = {"config": config_inputs(config)}
    parts: tuple[Part, ...] = ("image",)
    if isinstance(config, TrainConfig):
        if config.method.build().supervision is not None:
            parts += ("mask",)
        if (stream := config.method.source_stream) is not None:
            seen: tuple[Part, ...] = ("image", "saliency") if stream.saliency else ("image",)
            inputs["companion"] = context.data(stream.source, seen)  # the name in hashes of stages that are there
    inputs["data"] = context.data(config.data, parts)
    weights = inputs["config"]["model"].get("weights")
    if isinstance(weights, str) and weights != "imagenet":
        file = weights_file(weights)
        if is_remote(file):
            inputs["weights"] = file_mark(file)
        else:
            inputs["weights"] = sha256_of(Path(file)) if Path(file).is_file() else None
    return inputs
