"""Estimated duration of a run's epochs, measured on a few steps."""

from __future__ import annotations

__all__ = ["measured_epochs"]

import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from attn.errors import ConfigError
from attn.runs.composed import ComposedConfig
from attn.runs.table import build_components
from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from jobs.sweeps.estimate import Epochs, quantiles

STEPS = 4


def measured_epochs(config: RunConfig | ComposedConfig) -> Epochs:
    """Measure a few steps in this process, as one worker makes them.

    Raises:
        ConfigError: Its labels would have to be made first.
    """
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"steps of a run of kind {config.kind} cannot be measured: its labels are not made yet")
    store, validation = config.store, config.validation
    config = config.model_copy(update={
        "store": store.model_copy(update={"accumulate": False}),
        "validation": validation.model_copy(update={"split": None}),
    })  # fmt: skip
    warm = min(getattr(config.method, "warmup_epochs", 0), config.training.epochs) / config.training.epochs
    times = [0.0] * STEPS
    for share, warmup in ((warm, config.training.epochs), (1 - warm, 0)):
        if share > 0:  # steps cost more once a method's own terms have begun
            update = {"warmup_epochs": warmup} if hasattr(config.method, "warmup_epochs") else {}
            method = config.method.model_copy(update=update)
            seconds_of_epochs = _epochs_by_steps(config.model_copy(update={"method": method}))
            times = [time + share * seconds for time, seconds in zip(times, sorted(seconds_of_epochs), strict=True)]
    return Epochs(quantiles(times), f"{STEPS} steps measured here and now; validation and checkpoints come on top")


class _EnoughError(Exception):
    """Ends a training."""


class _Clock:
    """Reporter that notes when each step ends; the first step is a warm-up."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def step(self, record: StepRecord) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) > STEPS:
            raise _EnoughError

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None: ...

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None: ...


def _epochs_by_steps(config: TrainConfig) -> list[float]:
    """The seconds of an epoch, extrapolated from each of a few steps of one worker."""
    components = build_components(config, rank=0, world=config.cluster.workers)
    update = {"steps": None, "epochs": STEPS + 1}  # enough of them, however few an epoch has
    trainer = Trainer(
        config.model_copy(update={"training": config.training.model_copy(update=update)}), World.current(), components
    )
    clock = _Clock()
    with contextlib.suppress(_EnoughError):
        trainer.fit(clock)
    return [trainer.steps_per_epoch * (end - begin) for begin, end in itertools.pairwise(clock.ends)]
