"""The command that shows what a run would do, without starting it."""

from __future__ import annotations

__all__ = ["plan", "split_words"]

import difflib
import math
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from attn.errors import ConfigError, Fault
from attn.runs.table import KINDS
from services.cli.arguments import kind_names, recipe_names
from services.cli.command import Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_rows, print_table, print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from attn.runs.pipeline import PipelineConfig
    from attn.runs.sweep.config import Objective
    from attn.runs.sweep.load import LoadedSweep
    from jobs.sweeps.costs import Costs
    from jobs.sweeps.estimate import Estimate
    from jobs.sweeps.plan import Plan

MOST_POINTS = 12
EPOCH, MEASURE = "--epoch-seconds", "--measure"
MEASURED = {EPOCH: "train, segment and sweep", MEASURE: "train, segment, pipeline and sweep"}
"""Kinds of runs that an option is for."""
MEASURE_HINT = f"`attn plan` with {MEASURE} runs a few steps"


def _first_words(incomplete: str) -> list[str]:
    return [*recipe_names(incomplete), *kind_names(incomplete)]


@command
@takes_root("words")
def plan(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND] TARGET [a.b=value ...]",
            help="A recipe or YAML file; or, as for `attn submit`, a kind and what it works on, e.g. evaluate RUN; "
            "then config fields to change.",
            show_default=False,
            autocompletion=_first_words,
        ),
    ],
    epoch: Annotated[
        float | None,
        typer.Option(EPOCH, help="Duration of an epoch, to estimate the time from.", show_default=False),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(MEASURE, help="Run some training steps and stages on few images now, to estimate the time from."),
    ] = False,
) -> Result:
    """Show what a run of any kind would do, its resources and estimated time, without starting it."""
    from attn.runs.composed import ComposedConfig
    from attn.runs.config_notices import config_notices
    from attn.runs.named_images import check_named_images
    from attn.runs.pipeline import PipelineConfig
    from attn.runs.recipes import load_any_run, load_run
    from attn.runs.sweep.load import LoadedSweep, TrialConfig, trial_config
    from attn.training.inputs import check_inputs
    from attn.training.run_config import RunConfig
    from jobs.sweeps.costs import Costs
    from jobs.sweeps.estimate import Estimate, run_estimate
    from jobs.training.notices import tell_notices
    from services.plan import choices, what_of

    def costs(
        run: TrialConfig, root: str, of_sweep: Plan | None = None, objective: Objective | None = None
    ) -> Costs | None:
        if measure:
            from jobs.sweeps.measured_start import measured_start

            start = measured_start(run)
            from jobs.runs.lifecycle import warned
            from jobs.sweeps.measured_steps import measured_costs  # imports Ray
            from jobs.sweeps.measurements import keep_measurement

            result = measured_costs(run, start, of_sweep, objective)
            assert isinstance(run, RunConfig), "the steps of others cannot be measured"
            with warned("the measurement could not be kept for later estimates"):
                keep_measurement(result, root, run, of_sweep, objective)
            return result
        return None if epoch is None else Costs((epoch, epoch, epoch), EPOCH, whole=True)

    kind, targets, overrides = split_words(words)
    if epoch is not None and not 0 < epoch < math.inf:
        raise ConfigError([Fault(EPOCH, f"{epoch} is no duration", "a number of seconds above 0, e.g. 90")])
    options = [name for name, given in ((MEASURE, measure), (EPOCH, epoch is not None)) if given]
    if len(options) > 1:
        raise ConfigError([Fault(EPOCH, f"cannot be used with {MEASURE}", "give one of them")])
    if kind is not None and KINDS[kind].config is None:
        _refuse(options, kind)
        from jobs.target_plan import plan_target

        return _tree(plan_target(kind, targets, overrides))
    given = load_any_run(targets[0], overrides) if kind is None else load_run(targets[0], kind, overrides)
    if not isinstance(given, LoadedSweep):  # its trials were checked when it was read
        check_inputs(given)
        check_named_images(given)
    tell_notices(config_notices(given))
    if isinstance(given, RunConfig):
        resources = {"kind": given.kind, "data": f"{given.data.variant} {given.data.split}"}
        resources |= {"epochs": given.training.epochs, "batch_size": given.training.batch_size}
        resources |= choices("cues", given)
        resources |= {"workers": given.cluster.workers, "time": run_estimate(given, costs(given, given.root)).to_json()}
        return _tree(resources)
    if isinstance(given, ComposedConfig):
        described = {"kind": given.kind} | what_of(given)
        if isinstance(given, PipelineConfig) and epoch is None:
            described["time"] = (_measured(given) if measure else Estimate(None, None, MEASURE_HINT)).to_json()
        else:
            _refuse(options, given.kind)
        return _tree(described)
    assert isinstance(given, LoadedSweep), "other kinds with files train or are made of others"
    from jobs.sweeps.plan import make_plan

    config, base = given
    sweep_plan = make_plan(config, base)
    return _sweep(given, sweep_plan, costs(trial_config(base, {}), config.root, sweep_plan, config.objective))


def _measured(config: PipelineConfig) -> Estimate:
    """The time of a pipeline, measured now."""
    from jobs.sweeps.measured_start import measured_start

    start = measured_start(config.train)
    from jobs.sweeps.measured_stages import measured_pipeline  # imports Ray

    return measured_pipeline(config, start)


def _refuse(options: list[str], kind: str) -> None:
    """Refuse the options of an estimate for a kind that has none."""
    if options:
        message = f"the time of a run of kind {kind} cannot be estimated"
        way_out = f"use {MEASURE}" if kind == "pipeline" else f"leave it out; it is for kinds {MEASURED[options[0]]}"
        raise ConfigError([Fault(options[0], message, way_out)])


def split_words(words: list[str]) -> tuple[str | None, list[str], list[str]]:
    """Kind, targets and overrides of `[KIND] TARGET [a.b=value ...]`; the kind is None if the recipe says it.

    A single word is a recipe or a file, also where a kind has the same name.

    Raises:
        ConfigError: The first of two words is no kind, or a word is missing or one too many.
    """
    bare = [word for at, word in enumerate(words) if at == 0 or "=" not in word]
    overrides = [word for at, word in enumerate(words) if at > 0 and "=" in word]
    first = bare[0] if bare else ""
    if not bare or ("=" in first and not first.endswith((".yaml", ".yml"))):
        usage = "attn plan RECIPE [a.b=value ...], or attn plan KIND TARGET"
        raise ConfigError([Fault("plan", "no recipe, file or kind is given", usage)])
    if len(bare) == 1:
        from attn.runs.recipes import FORMER_NAMES, recipe_paths

        if first in KINDS and first not in {*recipe_paths(), *FORMER_NAMES}:
            hint = f"attn plan {first} TARGET, e.g. the name of a recipe or a run"
            raise ConfigError([Fault(first, "is a kind of run, and what it works on is missing", hint)])
        return None, bare, overrides
    if first not in KINDS:
        near = difflib.get_close_matches(first, KINDS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        hint = f"{meant}one of {', '.join(KINDS)}; or one recipe and a.b=value ..."
        raise ConfigError([Fault(first, "is no kind of run", hint)])
    if len(bare) > 2 and first != "compare":
        raise ConfigError([Fault(bare[2], "is one word too many", f"attn plan {first} TARGET [a.b=value ...]")])
    return first, bare[1:], overrides


def _tree(data: dict[str, Any]) -> Result:
    return Result(data, lambda console: print_plan(console, data))


def print_plan(console: Console, data: dict[str, Any]) -> None:
    """Print a plan: its fields, a table of the stages, and the estimated time with its parts.

    Args:
        data: Made here or by a service, which may say other things of stages and time.
    """
    stages, time = data.get("stages"), data.get("time")
    tables = {"stages"} if _is_table(stages) else set[str]()
    unknown = isinstance(time, dict) and time.get("seconds") is None and "source" in time
    tables |= {"time"} if _is_estimate(time) or unknown else set[str]()
    print_tree(console, {name: value for name, value in data.items() if name not in tables})
    if "stages" in tables:
        _print_stages(console, cast("dict[str, dict[str, Any]]", stages))
    if unknown:
        print_rows(console, [("time", f"not measured; {MEASURE_HINT}")])
    elif "time" in tables:
        _print_time(console, cast("dict[str, Any]", time))


def _is_table(stages: object) -> bool:
    return isinstance(stages, dict) and bool(stages) and all(isinstance(stage, dict) for stage in stages.values())


def _is_estimate(time: object) -> bool:
    if not isinstance(time, dict) or not isinstance(time.get("between"), list) or len(time["between"]) != 2:
        return False
    parts = time.get("parts", {})
    numbers = [time.get("seconds"), *time["between"], *(parts.values() if isinstance(parts, dict) else [None])]
    return all(isinstance(number, int | float) for number in numbers)


def _print_stages(console: Console, stages: dict[str, dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for stage in stages.values() for name in stage))
    rows = [(name, *(_cell(stage.get(column)) for column in columns)) for name, stage in stages.items()]
    print_table(console, ("stage", *(column.replace("_", " ") for column in columns)), rows)


def _print_time(console: Console, time: dict[str, Any]) -> None:
    from attn.display import duration

    low, high = map(duration, time["between"])
    line = f"about {duration(time['seconds'])} ({low} to {high}), by {time.get('source')}"
    print_rows(console, [("time", line)])
    if parts := time.get("parts"):
        print_rows(console, [(f"  {name}", duration(seconds)) for name, seconds in parts.items()])


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _sweep(loaded: LoadedSweep, sweep_plan: Plan, costs: Costs | None) -> Result:
    from attn.runs.sweep.space import grid_points, random_points
    from jobs.sweeps.estimate import sweep_estimate

    config, base = loaded
    search = config.search
    if search.variant == "grid":
        points = grid_points(config.space)
    else:
        points = random_points(config.space, 5, 0) if search.variant == "random" else []
    shown = points[:MOST_POINTS]
    data: dict[str, Any] = sweep_plan.to_json() | {
        "search": search.variant,
        "scheduler": config.scheduler.variant,
        "time": sweep_estimate(config, base, sweep_plan, costs).to_json(),
    }
    data |= {"objective": f"{config.objective.mode} {config.objective.metric}", "points": shown}

    def show(console: Console) -> None:
        print_plan(console, {name: value for name, value in data.items() if name != "points"})
        for point in shown:
            console.print("  " + "  ".join(f"{name}={value}" for name, value in point.items()), markup=False)
        if len(points) > len(shown):
            console.print(f"  ... {len(points)} in all")

    return Result(data, show)
