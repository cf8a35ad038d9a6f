"""The fields that the configs of all trainings share."""

from __future__ import annotations

__all__ = ["RunConfig"]

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from attn.config.base import Config, Location
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.tracking.config import TrackingConfig, default_tracking
from attn.training.config import CheckpointConfig, ClusterConfig, TrainingConfig, ValidationConfig
from attn.training.optimizer import OptimizerConfig
from attn.training.schedule import Poly, ScheduleConfig

if TYPE_CHECKING:
    from attn.errors import Fault


class RunConfig(Config):
    """One run that trains a network.

    Attributes:
        kind: What kind of run this is; each has a class of its own.
        root: Folder or `s3://` prefix under which every run has a folder of its own.
        seed: Of everything random in the run, except what data sets draw.
    """

    kind: str
    root: Location = "runs"
    seed: int = Field(default=0, ge=0, lt=2**63)
    data: SourceConfig
    validation: ValidationConfig = ValidationConfig()
    input: InputConfig = InputConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = Poly()
    training: TrainingConfig = TrainingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = Field(default_factory=default_tracking)

    @property
    def title(self) -> str:
        """First part of the names of runs."""
        raise TypeError(f"{type(self).__name__} does not say what its runs are named after")

    def resolved_versions(self) -> Self:
        """This config with explicit versions instead of "the newest", as they are when the run begins."""
        return self

    @property
    def accumulates(self) -> bool:
        """Return whether the steps' maps are kept in a map store."""
        return False

    def input_faults(self, prefix: str = "") -> list[Fault]:
        """Inputs that are too small for the network: a layer would have no output, or normalise over a single value.

        Args:
            prefix: Of the fields in the faults.
        """
        raise TypeError(f"{type(self).__name__} does not say what its network takes")

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        shards = self.cluster.workers * self.training.accumulate_steps
        if self.training.batch_size % shards:
            raise ValueError(
                f"training.batch_size={self.training.batch_size} must be a multiple of cluster.workers x "
                f"training.accumulate_steps = {shards}"
            )
        if self.input.resize == "short_side" and self.training.batch_size != shards:
            raise ValueError(
                "input.resize=short_side gives inputs of differing sizes, one to a batch: set "
                f"training.accumulate_steps={self.training.batch_size // self.cluster.workers}, or input.resize=squash"
            )
        return self
