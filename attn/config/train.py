"""The configuration of a training run, put together from its components' own."""

from __future__ import annotations

__all__ = ["TrainConfig"]

from typing import Self

from pydantic import Field, model_validator

from attn.config.base import Config, Location
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.methods import MethodConfig
from attn.models.network import ModelConfig
from attn.tracking.config import TrackingConfig
from attn.training.config import CheckpointConfig, ClusterConfig, StoreConfig, TrainingConfig, ValidationConfig
from attn.training.optimizer import OptimizerConfig
from attn.training.schedule import Poly, ScheduleConfig


class TrainConfig(Config):
    """One training run. `root` is the folder or `s3://` prefix under which every run has a folder of its own."""

    root: Location = "runs"
    seed: int = Field(default=0, ge=0)
    data: SourceConfig
    validation: ValidationConfig = ValidationConfig()
    input: InputConfig = InputConfig()
    model: ModelConfig
    method: MethodConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = Poly()
    training: TrainingConfig = TrainingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    store: StoreConfig = StoreConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = self.cluster.workers * self.training.accumulate_steps
        if self.training.batch_size % parts:
            raise ValueError(
                f"training.batch_size={self.training.batch_size} must be a multiple of cluster.workers x "
                f"training.accumulate_steps = {parts}"
            )
        if self.input.resize == "short_side" and self.training.batch_size != parts:
            raise ValueError(
                "input.resize=short_side gives inputs of differing sizes, one to a batch: set "
                f"training.accumulate_steps={self.training.batch_size // self.cluster.workers}, or input.resize=squash"
            )
        if self.store.accumulate and self.store.start_epoch >= self.training.epochs:
            raise ValueError(
                f"store.start_epoch={self.store.start_epoch} leaves none of training.epochs={self.training.epochs} to "
                "accumulate: lower it, or train longer"
            )
        return self
