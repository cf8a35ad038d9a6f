"""Which epoch of a run is the best one, and whether its scores have stopped improving. Pure functions of the scores.

Epochs are counted from 1 here. A loss is better if it is lower, any other score if it is higher. NaN and infinity are
never better.
"""

from __future__ import annotations

__all__ = [
    "Best",
    "EarlyStoppingConfig",
    "Plateau",
    "Selection",
    "best_of",
    "is_better",
    "lower_is_better",
    "plateau_of",
]

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from pydantic import Field, TypeAdapter

from attn.config.base import Config


class EarlyStoppingConfig(Config):
    """End a training whose score no longer improves. The schedule of the learning rate stays that of all epochs.

    Attributes:
        metric: Score of the epochs, such as `val/mean_ap`, `val/loss`, `seed_miou` or, of segmentation, `val/miou`.
        patience: Training ends after so many scored epochs in a row without an improvement.
        min_delta: An improvement is larger than this.
    """

    metric: str
    patience: int = Field(default=5, ge=1, le=1_000_000)
    min_delta: float = Field(default=0.0, ge=0)


def lower_is_better(metric: str) -> bool:
    """Whether a metric is a loss."""
    return metric.startswith("train/") or metric.rpartition("/")[2] == "loss"


def is_better(metric: str, value: float, than: float | None, min_delta: float = 0.0) -> bool:
    """Whether a value improves on the one before by more than `min_delta`; any number improves on None."""
    if not math.isfinite(value):
        return False
    if than is None:
        return True
    return than - value > min_delta if lower_is_better(metric) else value - than > min_delta


@dataclass(frozen=True)
class Best:
    """The best epoch so far; of equal ones the earliest.

    Attributes:
        epoch: From 1.
        metrics: All metrics of that epoch.
    """

    metric: str
    epoch: int
    value: float
    metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Metric, epoch and value."""
        return {"metric": self.metric, "epoch": self.epoch, "value": self.value}


@dataclass(frozen=True)
class Plateau:
    """How long a score has not improved.

    Attributes:
        epoch: Of the last improvement, from 1; 0 before the first.
        value: Of the score at that epoch.
        waited: Scored epochs since then.
        metric: The score; None before the first epoch, and in checkpoints that do not say it.
    """

    epoch: int = 0
    value: float | None = None
    waited: int = 0
    metric: str | None = None

    def after(self, epoch: int, value: float, config: EarlyStoppingConfig) -> Plateau:
        """The plateau after another scored epoch."""
        if is_better(config.metric, value, self.value, config.min_delta):
            return Plateau(epoch, value, 0, config.metric)
        return replace(self, waited=self.waited + 1, metric=config.metric)


@dataclass(frozen=True)
class Selection:
    """What the epochs of a run so far decide; a checkpoint keeps it.

    Args:
        metric: Of `checkpoint.best`.
        stopping: `training.early_stopping`.
    """

    metric: str | None = None
    stopping: EarlyStoppingConfig | None = None
    best: Best | None = None
    plateau: Plateau = Plateau()

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the scores that it needs."""
        return frozenset({self.metric, self.stopping and self.stopping.metric} - {None})  # pyright: ignore[reportReturnType]

    @property
    def stops(self) -> bool:
        """Whether the training ends before its last epoch."""
        return self.stopping is not None and self.plateau.waited >= self.stopping.patience

    def after(
        self,
        epoch: int,
        scores: Mapping[str, float],
        recorded: Mapping[str, float] | None = None,
        *,
        may_stop: bool = True,
    ) -> Selection:
        """The selection after an epoch that was validated; a score that it lacks counts as NaN.

        Args:
            epoch: From 1.
            scores: What decides: losses and scores of the validation split.
            recorded: The metrics that `Best` keeps, if they are not the scores.
            may_stop: Early stopping counts the epoch.
        """
        best, plateau = self.best, self.plateau
        if self.metric is not None:
            value = scores.get(self.metric, math.nan)
            if is_better(self.metric, value, best and best.value):
                best = Best(self.metric, epoch, value, dict(scores if recorded is None else recorded))
        if self.stopping is not None and may_stop:
            plateau = plateau.after(epoch, scores.get(self.stopping.metric, math.nan), self.stopping)
        return replace(self, best=best, plateau=plateau)

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint; nothing where nothing is selected."""
        if not self.metrics:
            return {}
        return {"best": self.best and asdict(self.best), "plateau": asdict(self.plateau)}

    def restored(self, shared: Mapping[str, Any]) -> Self:
        """This selection as a checkpoint left it.

        Args:
            shared: Of the checkpoint; one without these fields, or of other scores, begins anew.
        """
        best, plateau = best_of(shared), plateau_of(shared)
        same = self.stopping is not None and plateau.metric in (None, self.stopping.metric)
        return replace(
            self, best=best if best and best.metric == self.metric else None, plateau=plateau if same else Plateau()
        )


def best_of(shared: Mapping[str, Any]) -> Best | None:
    """The best epoch that a checkpoint names.

    Raises:
        ValueError: The field is damaged. One that a later version added to it is left out.
    """
    return TypeAdapter(Best | None).validate_python(shared.get("best"))


def plateau_of(shared: Mapping[str, Any]) -> Plateau:
    """How long a checkpoint's score has not improved.

    Raises:
        ValueError: As `best_of`.
    """
    return TypeAdapter(Plateau | None).validate_python(shared.get("plateau")) or Plateau()
