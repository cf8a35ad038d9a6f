"""What a training costs, by its parts, and how they add up to a run or a sweep."""

from __future__ import annotations

__all__ = ["RAY_SECONDS", "WORKERS_SECONDS", "Costs", "SecondsByPart", "run_parts", "sweep_parts"]

import math
from collections.abc import Mapping
from dataclasses import dataclass

from attn.runs.sweep.config import Fifo, SweepConfig
from attn.training.run_config import RunConfig
from jobs.sweeps.plan import Plan

RAY_SECONDS = 12.0
"""Ray's start and end on this machine, and the first imports."""
WORKERS_SECONDS = 9.0
"""The start of processes at the same time, most of which is imports."""
MODEL_SECONDS, RECORDED_SECONDS = 1.0, 12.0
"""Saving a model, and what tracking adds: imports, the record, and the copy of the model."""
TRIAL_SECONDS = 1.0
"""A trial's folder and record, and Ray Tune's own work."""
TUNE_SECONDS = 6.0
"""Ray Tune's imports and start."""
RESULTS_SECONDS = 5.0
"""A sweep's table, pictures and record."""

LEAST_SLOWER = 1.5
"""How much longer a whole training may take than its measured steps say, on a machine without other work."""

SecondsByPart = dict[str, float]
"""Seconds by name of the part, in order."""


@dataclass(frozen=True)
class Costs:
    """Seconds of the parts of a training.

    Attributes:
        epoch: An epoch: the tenth percentile, the median and the ninetieth.
        whole: The epochs are those of earlier runs, with validation, pictures, checkpoints and scoring.
        validation: One validation, with the scores of an evaluation by which the run selects its epochs.
        scoring: The scores of a sweep's objective after an epoch, where the epoch's own do not have it.
        pictures, checkpoint: Those of an epoch.
        setup: Data and network, in each process.
        ray, workers: Start and end of Ray, and the start of a group of workers.
        load: Of a measurement: how many other processes a core had.
        source: What this is based on.
    """

    epoch: tuple[float, float, float]
    source: str
    whole: bool = False
    validation: float = 0.0
    scoring: float = 0.0
    pictures: float = 0.0
    checkpoint: float = 0.0
    setup: float = 0.0
    ray: float = RAY_SECONDS
    workers: float = WORKERS_SECONDS
    load: float = 0.0

    def between(self, total: float, epochs: float) -> tuple[float, float]:
        """The range of a duration that contains so many epochs one after another.

        That of a few measured steps is wider than the steps': they are a short time of the machine, which the other
        processes may leave, and as many again may come to.
        """
        low, middle, high = self.epoch
        fast, slow = total + epochs * (low - middle), total + epochs * (high - middle)
        if self.whole:
            return fast, slow
        return fast / (1 + self.load), slow * max(LEAST_SLOWER, 1 + self.load)

    def of_epochs(self, config: RunConfig, epochs: float) -> SecondsByPart:
        """The parts of so many epochs."""
        if self.whole:
            return {"epochs": epochs * self.epoch[1]}
        validations = 0.0
        if config.validation.split is not None:
            validations = max(1.0, epochs / config.validation.every_epochs)
        return {
            "training": epochs * self.epoch[1],
            "validation": validations * self.validation,
            "scoring": epochs * self.scoring,
            "pictures": epochs * self.pictures,
            "checkpoints": epochs * self.checkpoint,
        }


def run_parts(config: RunConfig, costs: Costs, epochs: int, *, in_session: bool = False) -> SecondsByPart:
    """The parts of a run.

    Args:
        in_session: It runs within a Ray session that is up, as a pipeline's stages do.
    """
    recorded = RECORDED_SECONDS if config.tracking.enabled else 0.0
    start = {} if in_session else {"start of Ray": costs.ray}
    return _without_zeros({
        **start,
        "start of workers": 2 * costs.workers,  # Ray Train's controller, and then the workers
        "data and network": 2 * costs.setup,  # in the process that drives the run, and in its workers
        **costs.of_epochs(config, epochs),
        "model": MODEL_SECONDS + recorded,
    })  # fmt: skip


def sweep_parts(config: SweepConfig, trial: RunConfig, plan: Plan, costs: Costs) -> SecondsByPart:
    """The parts of a sweep; trials that run at the same time share the time."""
    rounds = math.ceil(plan.trials / plan.parallel)
    # Trials in step leave places empty in the last round; those that are stopped early fill them.
    shared = rounds / plan.trials if isinstance(config.scheduler, Fifo) else 1 / plan.parallel
    in_process = plan.in_process
    epochs = costs.of_epochs(trial, plan.epochs_in_all)
    epochs.pop("pictures", None)  # trials draw none
    each = (0.0 if in_process else 2 * costs.workers) + costs.setup + MODEL_SECONDS + TRIAL_SECONDS
    return _without_zeros({
        "start of Ray": costs.ray,
        # All of them at once; afterwards each process takes one trial after another.
        "start of trials": TUNE_SECONDS + costs.workers,
        "begin and end of trials": plan.trials * each * shared,
        **{name: seconds * shared for name, seconds in epochs.items()},
        "results": RESULTS_SECONDS,
    })  # fmt: skip


def _without_zeros(parts: Mapping[str, float]) -> SecondsByPart:
    return {name: seconds for name, seconds in parts.items() if seconds > 0}
