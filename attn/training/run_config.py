"""The fields that the configs of all trainings share."""

from __future__ import annotations

__all__ = ["RunConfig", "check_batch", "check_scores"]

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from attn.config.base import Config, FieldError, Location
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.tracking.config import TrackingConfig, default_tracking
from attn.training.config import CheckpointConfig, ClusterConfig, TrainingConfig, ValidationConfig
from attn.training.optimizer import OptimizerConfig
from attn.training.schedule import Poly, ScheduleConfig
from attn.training.selection import Selection

if TYPE_CHECKING:
    from attn.errors import Fault

FAR = 9_999
"""An epoch to look at where their number depends on the data."""


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

    @property
    def validation_scores(self) -> tuple[str, ...]:
        """Names of the scores that validation takes, with `val/`."""
        return ()

    def loss_terms(self, epoch: int) -> tuple[str, ...]:
        """Names of the losses besides `loss` in an epoch (from 0)."""
        return ()

    @property
    def evaluated_scores(self) -> tuple[str, ...]:
        """Names of the scores of `attn evaluate` that can be taken of the network while it trains."""
        return ()

    @property
    def last_epoch(self) -> int:
        """The last epoch, from 0; where it depends on the data, a later one."""
        return self.training.epochs - 1 if self.training.steps is None else FAR

    def epoch_scores(self) -> tuple[str, ...]:
        """Names of all scores by which an epoch can be the best one."""
        losses = ("train/loss", *(f"train/{name}" for name in self.loss_terms(self.last_epoch)))
        return losses if self.validation.split is None else (*losses, *self.validation_scores, *self.evaluated_scores)

    def first_counted(self, epochs: int) -> int:
        """The first epoch, from 0, with the losses of the last one: those before, a warm-up, are no candidates."""
        last = set(self.loss_terms(epochs - 1))
        return next(epoch for epoch in range(epochs) if set(self.loss_terms(epoch)) == last)

    def first_stopping(self, epochs: int) -> int:
        """The first epoch, from 0, that early stopping counts."""
        return self.first_counted(epochs)

    @property
    def selection(self) -> Selection:
        """How epochs are selected, before the first."""
        return Selection(self.checkpoint.best, self.training.early_stopping)

    def input_faults(self, prefix: str = "") -> list[Fault]:
        """Inputs that are too small for the network: a layer would have no output, or normalise over a single value.

        Args:
            prefix: Of the fields in the faults.
        """
        raise TypeError(f"{type(self).__name__} does not say what its network takes")

    @model_validator(mode="after")
    def _choose_validation_split(self) -> Self:
        if "split" not in self.validation.model_fields_set:
            split = type(self.data).default_validation_split(self.data.split)
            object.__setattr__(self, "validation", self.validation.model_copy(update={"split": split}))
        return self

    @model_validator(mode="after")
    def _check_selection(self) -> Self:
        stopping = self.training.early_stopping
        check_scores(self, {"checkpoint.best": self.checkpoint.best,
                            "training.early_stopping.metric": stopping and stopping.metric})  # fmt: skip
        return self

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        shards = self.cluster.most_workers * self.training.accumulate_steps
        check_batch("training.batch_size", self.training.batch_size, shards)
        if self.input.resize == "short_side" and self.training.batch_size != shards:
            steps = self.training.batch_size // self.cluster.most_workers
            raise ValueError(
                "input.resize=short_side gives inputs of differing sizes, one to a batch: set "
                f"training.accumulate_steps={steps}, or input.resize=squash"
            )
        return self

    @model_validator(mode="after")
    def _check_range_of_workers(self) -> Self:
        if not self.cluster.is_elastic:
            return self
        own = self.training.batch_size // (self.cluster.most_workers * self.training.accumulate_steps)
        share = self.supervised_share * own
        if self.input.resize == "short_side" or (share and (own == 1 or share % 1)):
            supervised = f"extra supervision of {share:g} of the {own} images of a worker"
            why = supervised if share else "input.resize=short_side"
            raise FieldError(
                f"cluster.workers={list(self.cluster.worker_range)} needs batches that are the same for each number of "
                f"workers, and with {why} they are not",
                f"cluster.workers={self.cluster.most_workers}",
            )
        return self

    @property
    def supervised_share(self) -> float:
        """Share of each batch that is drawn for extra supervision."""
        return 0.0


def check_batch(field: str, size: int, shards: int, steps: str = "training.accumulate_steps") -> None:
    """Check that a batch can be divided among workers and steps.

    Args:
        field: The size's.
        shards: Number of equal parts.
        steps: The field of the steps by which gradients are accumulated.

    Raises:
        ValueError: It cannot; says the next size that can be.
    """
    if size % shards:
        message = f"{field}={size} must be a multiple of cluster.workers x {steps} = {shards}"
        raise FieldError(message, f"e.g. {field}={size + shards - size % shards}")


def check_scores(config: RunConfig, fields: Mapping[str, str | None]) -> None:
    """Check that the epochs of a run have the scores that fields name.

    Raises:
        ValueError: A field names another score; says which there are.
    """
    known = config.epoch_scores() if any(fields.values()) else ()
    for field, metric in fields.items():
        if metric is None or metric in known:
            continue
        if metric in (*config.validation_scores, *config.evaluated_scores):
            raise FieldError(f"{field}={metric} is a score of the validation split", "set validation.split, now null")
        near = difflib.get_close_matches(metric, known, n=3, cutoff=0.45)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        message = f"{field}={metric} is no score of this run's epochs"
        raise FieldError(message, f"{meant}they have {', '.join(known)}")
