"""How a run steps, saves and spreads."""

from __future__ import annotations

__all__ = ["CheckpointConfig", "ClusterConfig", "TrainingConfig", "ValidationConfig"]

from typing import Literal

from pydantic import Field

from attn.config.base import Config


class TrainingConfig(Config):
    """The loop. `batch_size` is that of one optimiser step, over all workers and accumulated steps together."""

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=16, ge=1)
    accumulate_steps: int = Field(default=1, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    deterministic: bool = True
    shuffle: bool = True


class ValidationConfig(Config):
    """Classification scores on another split of the same data, while training goes on."""

    split: str | None = "val"
    every_epochs: int = Field(default=1, ge=1)


class CheckpointConfig(Config):
    """What a restart can come back to: after every epoch and, where given, every so many steps within it."""

    every_steps: int | None = Field(default=None, ge=1)
    keep: int = Field(default=2, ge=1)


class ClusterConfig(Config):
    """The processes of a run.

    `threads` per CPU worker are chosen from the cores where it is not given: more threads than cores cost a factor of
    ten. `max_failures` is how often a run whose worker died starts again from its newest checkpoint.
    """

    workers: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    data_workers: int = Field(default=0, ge=0)
    max_failures: int = Field(default=3, ge=0)
    start_timeout: float = Field(default=300.0, gt=0)
