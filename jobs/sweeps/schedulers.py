"""Ray Tune's schedulers for a sweep: which trials go on, and what population-based training makes of the others."""

from __future__ import annotations

__all__ = ["domain", "scheduler_of"]

import random
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining

from attn.runs.sweep.config import Asha, Pbt, SweepConfig
from attn.runs.sweep.space import Dimension
from jobs.sweeps.trial_folder import EPOCH, LAST


def scheduler_of(config: SweepConfig, epochs: int, first: int) -> Any:
    """The scheduler of a sweep.

    Args:
        epochs: That a trial has at most.
        first: After how many of them trials can first differ.
    """
    match config.scheduler:
        case Asha() as asha:
            return Halving(
                time_attr=EPOCH,
                max_t=epochs + 1,  # no trial comes to it
                grace_period=min(asha.grace_epochs or first, epochs),
                reduction_factor=asha.factor,
            )
        case Pbt() as pbt:
            return Population(config, pbt, first)
        case _:
            return FIFOScheduler()


def domain(dimension: Dimension) -> Any:
    """A dimension as Ray Tune draws from it."""
    if dimension.choices is not None:
        return tune.choice(list(dimension.choices))
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.integer:
        return tune.randint(int(dimension.low), int(dimension.high) + 1)
    return tune.uniform(dimension.low, dimension.high)


class Halving(ASHAScheduler):
    """Successive halving that does not stop a trial after its last epoch, so that it saves its model."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get(LAST):
            return self.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)


class Population(PopulationBasedTraining):
    """Population-based training that keeps to the sweep's space, and lets a trial end by the weights it trained."""

    def __init__(self, config: SweepConfig, pbt: Pbt, first: int) -> None:
        def draw(dimension: Dimension) -> Any:
            return list(dimension.choices) if dimension.choices else lambda: dimension.at(random.random())

        def within(given: dict[str, Any]) -> dict[str, Any]:  # a fifth more or less may lead out of a range
            return {name: config.space[name].nearest(value) if name in config.space else value
                    for name, value in given.items()}  # fmt: skip

        super().__init__(
            time_attr=EPOCH,
            perturbation_interval=pbt.every_epochs,
            burn_in_period=first,
            hyperparam_mutations={name: draw(dimension) for name, dimension in config.space.items()},
            quantile_fraction=pbt.quantile,
            resample_probability=pbt.resample,
            custom_explore_fn=within,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Exploit no other trial after the last epoch: no epoch would follow."""
        if result.get(LAST):
            return self.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)
