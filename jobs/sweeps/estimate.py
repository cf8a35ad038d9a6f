"""Estimated duration of a run or sweep, from the epochs of similar earlier runs or from a measurement."""

from __future__ import annotations

__all__ = ["Epochs", "Estimate", "earlier_epochs", "load_note", "run_estimate", "quantiles", "sweep_estimate"]

import contextlib
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from attn.display import duration
from attn.errors import AttnError
from attn.files.locations import list_folders
from attn.runs.config_reader import read_config
from attn.runs.result import JsonResult
from attn.runs.sweep.config import SweepConfig
from attn.runs.sweep.load import trial_config
from attn.training.run_config import RunConfig
from attn.wording import counted
from jobs.ray_cluster.capacity import cluster_capacity
from jobs.ray_cluster.session import threads_of
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.comparable import comparable_fields
from jobs.sweeps.costs import Costs, SecondsByPart, run_parts, sweep_parts
from jobs.sweeps.measurements import kept_measurement
from jobs.sweeps.plan import Plan, epochs_of, trainings
from jobs.training.epoch_lines import read_epochs

MOST_RUNS = 20
LEAST_LOAD = 0.2
"""Other processes a core that are named beside a measurement."""
MOST_SHOWN = 4
"""Names in a message."""


@dataclass(frozen=True)
class Estimate(JsonResult):
    """An estimated duration.

    Attributes:
        seconds: The estimate; None where nothing is known.
        between: Its range.
        source: What the estimate is based on.
        parts: Seconds by part, in order.
    """

    seconds: float | None
    between: list[float] | None
    source: str
    parts: SecondsByPart = field(default_factory=dict[str, float])

    def describe(self) -> str:
        """The estimate in a line, for a person."""
        if self.seconds is None or self.between is None:
            return f"no time known: {self.source}"
        low, high = map(duration, self.between)
        return f"about {duration(self.seconds)} ({low} to {high}), by {self.source}"


@dataclass(frozen=True)
class Epochs:
    """Duration of an epoch.

    Attributes:
        seconds: The tenth percentile, the median and the ninetieth; None where nothing is known.
        source: What this is based on, or what was looked for.
    """

    seconds: tuple[float, float, float] | None
    source: str

    @property
    def costs(self) -> Costs | None:
        """These epochs as the costs of a training; None where nothing is known."""
        return None if self.seconds is None else Costs(self.seconds, self.source, whole=True)


def run_estimate(config: RunConfig, costs: Costs | None = None) -> Estimate:
    """Estimate how long a run takes; without costs by earlier runs, or a kept measurement."""
    if costs is None:
        known = earlier_epochs(config, config.root)
        if (costs := known.costs or kept_measurement(config.root, config)) is None:
            return Estimate(None, None, known.source)
    epochs = config.training.epochs
    if config.training.steps is not None:
        with contextlib.suppress(AttnError):  # the data need not be there
            epochs = epochs_of(config)
    return _estimate(run_parts(config, costs, epochs), costs, epochs)


def sweep_estimate(config: SweepConfig, base: str, plan: Plan, costs: Costs | None = None) -> Estimate:
    """Estimate how long a sweep takes; without costs by earlier runs, or a kept measurement."""
    of_trial = trainings(trial_config(base, {}))
    if costs is None:
        known = _of_trainings(of_trial, config.root, plan.threads)
        if (costs := known.costs) is None and len(of_trial) == 1:
            costs = kept_measurement(config.root, of_trial[0], plan, config.objective)
        if costs is None:
            return Estimate(None, None, known.source)
    return _estimate(sweep_parts(config, of_trial[0], plan, costs), costs, plan.epochs_in_all / plan.parallel)


def _estimate(parts: SecondsByPart, costs: Costs, epochs: float) -> Estimate:
    """The sum of the parts, and its range."""
    total = sum(parts.values())
    between = [round(seconds, 1) for seconds in costs.between(total, epochs)]
    source = costs.source + load_note(costs.load)
    return Estimate(round(total, 1), between, source, {name: round(part, 1) for name, part in parts.items()})


def load_note(load: float) -> str:
    """What a source says of the machine's other work while it was measured.

    Args:
        load: As in `Costs`.
    """
    return f", beside other work ({load:.1f} processes a core)" if load >= LEAST_LOAD else ""


def _of_trainings(configs: list[RunConfig], root: str, threads: int) -> Epochs:
    """The epochs of several trainings, each from similar earlier runs: their mean, weighted by the number of epochs."""
    each = [(config.training.epochs, earlier_epochs(config, root, threads)) for config in configs]
    if len(each) == 1:
        return each[0][1]
    known = [(count, epochs.seconds) for count, epochs in each if epochs.seconds is not None]
    if len(known) < len(each):
        return next(epochs for _, epochs in each if epochs.seconds is None)
    whole = sum(count for count, _ in known)
    low, middle, high = (sum(count * seconds[at] for count, seconds in known) / whole for at in range(3))
    return Epochs((low, middle, high), "its trainings alone: " + "; ".join(epochs.source for _, epochs in each))


def earlier_epochs(config: RunConfig, root: str, threads: int | None = None) -> Epochs:
    """The epochs of the newest runs under a root with the same machine, data, network, sizes, workers and threads.

    Args:
        threads: Of a worker; left out, what the config says or else what the machine gives to it.
    """
    if threads is None:
        threads = threads_of(config.cluster, cluster_capacity())
    wanted, times, names, seen = comparable_fields(config), list[float](), list[str](), 0
    unfinished: list[str] = []
    nearest: tuple[list[str], str] | None = None
    for folder in _folders(root):
        with contextlib.suppress(AttnError, ValueError, KeyError, TypeError, AttributeError):  # of a damaged run
            seen += 1
            if (state := folder.state()).host != platform.node():
                continue
            earlier = read_config(folder.read_text("config.yaml"), "config.yaml")
            differing = _differing(comparable_fields(earlier), wanted)
            used = state.threads or earlier.cluster.threads  # None: not known, and not asked for
            if used != (config.cluster.threads if used is None else threads):
                differing.append("cluster.threads")
            if differing:
                if nearest is None or len(differing) < len(nearest[0]):
                    nearest = differing, folder.run_id
                continue
            if not (seconds := [float(line["seconds"]) for line in read_epochs(folder) if line.get("seconds")]):
                unfinished.append(folder.run_id)
                continue
            times += seconds
            names.append(folder.run_id)
        if len(names) == MOST_RUNS:
            break
    if not times:
        return Epochs(None, f"{_why_none(root, seen, unfinished, nearest)}; `attn plan` takes --measure")
    runs = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return Epochs(
        quantiles(times), f"{counted(len(times), 'epoch')} of {counted(len(names), 'earlier run')} alike: {runs}"
    )


def _why_none(root: str, seen: int, unfinished: list[str], nearest: tuple[list[str], str] | None) -> str:
    """Why no earlier run says how long an epoch takes.

    Args:
        seen: Number of runs and trials under the root.
        unfinished: Those alike, which have finished no epoch.
        nearest: The fields of the run that differs in the fewest, and its id.
    """
    if not seen:
        return f"there is no earlier run under {root}"
    if unfinished:
        return f"the runs alike under {root} have finished no epoch yet: {', '.join(unfinished[:MOST_SHOWN])}"
    same = "on this machine with this data, network, method, batch and workers"
    why = f"none of the {seen} runs and trials under {root} was made {same}"
    if nearest is not None:
        fields, run = nearest
        more = f" and {len(fields) - MOST_SHOWN} more" if len(fields) > MOST_SHOWN else ""
        why += f" (the nearest is {run}, which differs in {', '.join(fields[:MOST_SHOWN])}{more})"
    return why


def _differing(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the values in which two configs differ."""
    names: list[str] = []
    for name in dict.fromkeys([*a, *b]):
        left, right = a.get(name), b.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            names += _differing(cast("dict[str, Any]", left), cast("dict[str, Any]", right), f"{prefix}{name}.")
        elif left != right:
            names.append(f"{prefix}{name}")
    return names


def _folders(root: str) -> Iterator[RunFolder]:
    """Runs under a root and trials of its sweeps, newest first."""
    for state in list_runs(root):
        folder = RunFolder(root, state.id)
        if state.kind == "sweep":
            yield from (
                RunFolder(folder.uri, name) for name in list_folders(folder.uri) if name.startswith(f"{folder.run_id}-")
            )
        else:
            yield folder


def quantiles(times: list[float]) -> tuple[float, float, float]:
    """The tenth percentile, the median and the ninetieth."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    tenths = statistics.quantiles(times, n=10, method="inclusive")
    return tenths[0], statistics.median(times), tenths[-1]
