"""The configuration of a sweep: what is tried, in which order, what is best, and what is stopped early."""

from __future__ import annotations

__all__ = ["Asha", "Grid", "Objective", "Pbt", "Random", "Scheduler", "Search", "SweepConfig", "Tpe"]

import math
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from attn.config.base import Config, Location, Variant
from attn.runs.sweep.space import MOST_TRIALS, Dimension, Scalar, grid_points
from attn.score_names import current_name
from attn.tracking.config import TrackingConfig, default_tracking

EPOCH_METRICS = ("val/", "train/", "store/")


class Search(Variant, tag="name"):
    """Rule that chooses points; `name` selects it."""


class Grid(Search):
    """Every combination."""

    name: Literal["grid"] = "grid"


class Random(Search):
    """Independent draws.

    Attributes:
        trials: How many points are tried.
        seed: Of the draws.
    """

    name: Literal["random"] = "random"
    trials: int = Field(ge=1, le=MOST_TRIALS)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Tpe(Search):
    """Optuna's tree-structured Parzen estimator, which learns from the trials before.

    Attributes:
        trials: How many points are tried.
        seed: Of the draws.
        startup: Trials drawn at random before it begins to learn.
    """

    name: Literal["tpe"] = "tpe"
    trials: int = Field(ge=1, le=MOST_TRIALS)
    seed: int = Field(default=0, ge=0, lt=2**32)
    startup: int = Field(default=5, ge=1)


class Scheduler(Variant, tag="name"):
    """Rule for trials that fall behind; `name` selects it."""


class Fifo(Scheduler):
    """Every trial runs to its end."""

    name: Literal["fifo"] = "fifo"


class Asha(Scheduler):
    """Asynchronous successive halving: of each `factor` trials that reach a rung, one goes on.

    Attributes:
        grace_epochs: No trial is stopped before; the first epoch after which trials can differ where it is not given.
        factor: One of so many trials goes on at each rung, and rungs lie this factor apart.
    """

    name: Literal["asha"] = "asha"
    grace_epochs: int | None = Field(default=None, ge=1)
    factor: float = Field(default=3, gt=1)


class Pbt(Scheduler):
    """Population-based training: every so many epochs the worst go on from the best one's weights, with other values.

    Attributes:
        every_epochs: Epochs between two exchanges.
        quantile: Share of the population that is replaced.
        resample: Chance that a replaced value is drawn anew and not changed by a fifth.
    """

    name: Literal["pbt"] = "pbt"
    every_epochs: int = Field(default=2, ge=1)
    quantile: float = Field(default=0.25, gt=0, le=0.5)
    resample: float = Field(default=0.25, ge=0, le=1)


class Objective(Config):
    """The figure that a sweep optimizes.

    Attributes:
        metric: A score of `attn evaluate` (`seed_miou`, `direct_miou`, `mean_ap`, ...), for which the maps are scored
            after every epoch; or a figure of the epoch itself, such as `val/mean_ap` or, of segmentation, `val/miou`;
            of a pipeline a score of its masks or cues at its end: `miou`, `miou_crf`, `cue_miou`, ...
        mode: Whether a larger or a smaller value is better.
        split: Of the trial's data, on which scores of `attn evaluate` are taken; the validation split by default.
    """

    metric: str = "seed_miou"
    mode: Literal["max", "min"] = "max"
    split: str | None = None

    @field_validator("metric")
    @classmethod
    def _current_name(cls, metric: str) -> str:
        return current_name(metric)

    @property
    def of_epoch(self) -> bool:
        """Return whether the epoch's own metrics have it."""
        return self.metric.startswith(EPOCH_METRICS)

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {"metric": ("split",)} if self.of_epoch else {}


class SweepConfig(Config):
    """A search over the fields of a run's config.

    Attributes:
        register_as, alias: Register the best trial's model.
        root: Folder or `s3://` prefix of the sweep and its trials.
        recipe: Recipe or YAML file of the run whose fields are searched: train, segment or pipeline.
        set: Fields of the run that are changed for all trials. A section `data` beside it is short for `set.data`.
        space: The fields that are searched, by their dotted names.
        parallel: Trials at once; as many as there is room for where it is not given.
    """

    kind: Literal["sweep"] = "sweep"
    root: Location = "runs"
    recipe: str
    set: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    space: dict[str, Dimension] = Field(min_length=1)
    search: Search
    scheduler: Scheduler = Fifo()
    objective: Objective = Objective()
    parallel: int | None = Field(default=None, ge=1)
    tracking: TrackingConfig = Field(default_factory=default_tracking)

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.search.trials if isinstance(self.search, (Random, Tpe)) else len(grid_points(self.space))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.search, Grid):
            for name, dimension in self.space.items():
                try:
                    dimension.grid()
                except ValueError as error:
                    raise ValueError(f"space.{name}: {error}") from None
            if (points := math.prod(len(dimension.grid()) for dimension in self.space.values())) > MOST_TRIALS:
                raise ValueError(f"the grid has {points} points, and a sweep at most {MOST_TRIALS} trials: give fewer "
                                 "values, or search.name=random")  # fmt: skip
        if isinstance(self.scheduler, Pbt) and isinstance(self.search, Tpe):
            raise ValueError("scheduler.name=pbt changes values on the way, of which tpe would learn nothing: "
                             "use search.name=random or grid")  # fmt: skip
        if isinstance(self.scheduler, Pbt) and self.trials < 2:
            raise ValueError("scheduler.name=pbt needs two trials at least")
        return self
