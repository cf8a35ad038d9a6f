"""Plan of a sweep before it starts: trials, resources and the number of epochs."""

from __future__ import annotations

__all__ = ["Plan", "epochs_of", "make_plan", "remaining", "trainings"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attn import progress
from attn.runs.composed import ComposedConfig
from attn.runs.sweep.config import Asha, SweepConfig
from attn.runs.sweep.figures import check_data, differs_after
from attn.runs.sweep.load import TrialConfig, in_one_process, trial_config
from attn.training.config import ClusterConfig
from attn.training.run_config import RunConfig
from attn.wording import counted
from jobs.ray_cluster.capacity import Capacity, Machine, cluster_capacity, places
from jobs.ray_cluster.session import most_threads, uses_gpus

if TYPE_CHECKING:
    from jobs.sweeps.estimate import Estimate
    from jobs.sweeps.results import Row

LENGTHS = ("training.epochs", "training.steps")


@dataclass(frozen=True)
class Plan:
    """Trials, resources and epochs of a sweep.

    Attributes:
        trials: How many there are at most.
        epochs: Of a trial that is not stopped early; of a pipeline those of all its trainings.
        images: Of the training split.
        parallel: Trials at once.
        threads: Of each worker.
        per_trial: Ray's resources of the trial's own process.
        workers: Of a trial; 1 trains in the trial's own process.
        epochs_in_all: Expected over all trials, given the scheduler.
        differ_after: Number of epochs until trials can differ.
    """

    trials: int
    epochs: int
    images: int
    parallel: int
    threads: int
    per_trial: dict[str, float]
    workers: int
    epochs_in_all: int
    differ_after: int

    @property
    def in_process(self) -> bool:
        """Whether a trial trains in its own process, which then takes the next one."""
        return self.per_trial.get("CPU", 0) >= 1

    def line(self, time: Estimate) -> str:
        """The plan in a line, for a person.

        Args:
            time: Of all trials.
        """
        head = f"{counted(self.trials, 'trial')} of up to {counted(self.epochs, 'epoch')}, {self.parallel} at a time; "
        return head + time.describe()

    def to_json(self) -> dict[str, Any]:
        """The fields that a user is shown, as plain values."""
        return {
            "trials": self.trials,
            "epochs": self.epochs,
            "images": self.images,
            "parallel": self.parallel,
            "workers": self.workers,
            "threads": self.threads,
            "epochs_in_all": self.epochs_in_all,
        }


def make_plan(config: SweepConfig, base: str, *, cores: int | None = None, gpus: int | None = None) -> Plan:
    """Count the trials and epochs of a sweep, and divide the machine among its trials.

    Args:
        cores, gpus: Of this machine; left out, those of the Ray session that is up, with the machines that it may
            start, or of this machine.

    Raises:
        AttnError: The data cannot be read, or lacks what the objective is computed from.
    """
    trial = trial_config(base, {})
    check_data(config.objective.metric, config.objective.split, trial)
    parts = trainings(trial)
    clusters = [part.cluster for part in parts] or [ClusterConfig(workers=1)]
    cluster = max(clusters, key=lambda one: one.most_workers * (one.threads or 1))
    capacity = cluster_capacity() if cores is None or gpus is None else Capacity((Machine(gpus, cores),))
    one = in_one_process(trial)
    use_gpu = uses_gpus(cluster, capacity.machines)
    gpus_each = cluster.gpus_per_worker if use_gpu else 0
    wanted = min(config.parallel or config.trials, config.trials)
    machines = capacity.machines_for(wanted * cluster.most_workers, gpus_each)
    room = places(machines, cluster.threads or 1, gpus_each) // cluster.most_workers
    parallel = max(1, min(wanted, room))
    if capacity.unknown is not None and parallel < wanted:
        progress.say(
            f"notice: it is not known which machines this cluster may start ({capacity.unknown}); the sweep is planned "
            "for those that are up"
        )
    threads = cluster.threads or most_threads(machines, parallel * cluster.most_workers, gpus_each)
    # Something must be asked for, and any part of a core would be missing to a machine's worth of workers.
    per_trial: dict[str, float] = {"memory": 1 << 20}
    if one:
        per_trial = {"CPU": threads, **({"GPU": gpus_each} if use_gpu else {})}
    epochs = max(sum(map(epochs_of, trainings(one))) for one in (trial, *_of_other_lengths(config, base)))
    first = min(differs_after(trial, config.space, config.objective.metric) or 1, epochs)
    return Plan(
        trials=config.trials,
        epochs=epochs,
        images=len(trial.data.build().records),
        parallel=parallel,
        threads=threads,
        per_trial=per_trial,
        workers=cluster.most_workers,
        epochs_in_all=_epochs_in_all(config, epochs, first),
        differ_after=first,
    )


def remaining(plan: Plan, rows: Sequence[Row]) -> Plan:
    """The plan of the trials that are left, for an estimate of a sweep that is resumed.

    Args:
        rows: The trials that were begun; epochs of those that have not ended need not be trained again.
    """
    if not rows:
        return plan
    trials = plan.trials - sum(row.ended for row in rows)
    done = sum(min(row.epoch, plan.epochs) for row in rows if not row.ended)
    epochs = round(plan.epochs_in_all * trials / plan.trials) - done
    return replace(plan, trials=trials, epochs_in_all=max(0, epochs))


def trainings(trial: TrialConfig) -> list[RunConfig]:
    """The trainings of a trial: itself, or the stages of a pipeline that train."""
    return list(trial.trainings().values()) if isinstance(trial, ComposedConfig) else [trial]


def _of_other_lengths(config: SweepConfig, base: str) -> list[TrialConfig]:
    """Trials by each end of the searched lengths of a training."""
    lengths = {name: dimension for name, dimension in config.space.items() if name.endswith(LENGTHS)}
    return [trial_config(base, {name: value}) for name, dimension in lengths.items() for value in dimension.ends()]


def epochs_of(trial: RunConfig) -> int:
    """Number of epochs of a training.

    Raises:
        AttnError: They depend on the data, which cannot be read.
    """
    if trial.training.steps is None:
        return trial.training.epochs
    images = len(trial.data.build().records)
    return max(1, -(-trial.training.steps // -(-images // trial.training.batch_size)))


def _epochs_in_all(config: SweepConfig, epochs: int, first: int) -> int:
    """Successive halving in its ideal order: of the trials at a rung, one in `factor` goes on to the next."""
    if not isinstance(config.scheduler, Asha):
        return config.trials * epochs
    total, left, rung, before = 0.0, float(config.trials), float(config.scheduler.grace_epochs or first), 0.0
    while rung < epochs and left > 1:
        total += left * (rung - before)
        left, before, rung = max(1.0, left / config.scheduler.factor), rung, rung * config.scheduler.factor
    return min(round(total + left * (epochs - before)), config.trials * epochs)
