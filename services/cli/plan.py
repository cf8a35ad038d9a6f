"""The command that shows what a run would do, without starting it."""

from __future__ import annotations

__all__ = ["plan", "split_words"]

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn.errors import ConfigError, Fault
from attn.runs.table import KINDS
from services.cli.arguments import kind_names, recipe_names
from services.cli.command import Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from attn.runs.sweep.load import LoadedSweep
    from jobs.sweeps.estimate import Epochs

MOST_POINTS = 12


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
        typer.Option("--epoch-seconds", help="Duration of an epoch, to estimate the time from.", show_default=False),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run some training steps now, to estimate the time from.")
    ] = False,
) -> Result:
    """Show what a run of any kind would do, its resources and estimated time, without starting it."""
    from attn.runs.composed import ComposedConfig
    from attn.runs.recipes import load_any_run, load_run
    from attn.runs.sweep.load import LoadedSweep, TrialConfig, trial_config
    from attn.training.run_config import RunConfig
    from jobs.sweeps.estimate import Epochs, run_estimate

    def epochs(run: TrialConfig) -> Epochs | None:
        if measure:
            from jobs.sweeps.measured_steps import measured_epochs

            return measured_epochs(run)
        return None if epoch is None else Epochs((epoch, epoch, epoch), "--epoch-seconds")

    kind, targets, overrides = split_words(words)
    if kind is not None and KINDS[kind].config is None:
        from jobs.target_plan import plan_target

        return _tree(plan_target(kind, targets, overrides))
    given = load_any_run(targets[0], overrides) if kind is None else load_run(targets[0], kind, overrides)
    if isinstance(given, RunConfig):
        resources = {"kind": given.kind, "data": f"{given.data.variant} {given.data.split}"}
        resources |= {"epochs": given.training.epochs, "batch_size": given.training.batch_size}
        resources |= {"workers": given.cluster.workers, "time": run_estimate(given, epochs(given)).to_json()}
        return _tree(resources)
    if isinstance(given, ComposedConfig):
        from services.plan import what_of

        return _tree({"kind": given.kind} | what_of(given))
    assert isinstance(given, LoadedSweep), "other kinds with files train or are made of others"
    return _sweep(given, epochs(trial_config(given.base, {})))


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
    return Result(data, lambda console: print_tree(console, data))


def _sweep(loaded: LoadedSweep, epochs: Epochs | None) -> Result:
    from attn.runs.sweep.space import grid_points, random_points
    from jobs.sweeps.estimate import sweep_estimate
    from jobs.sweeps.plan import make_plan

    config, base = loaded
    sweep_plan, search = make_plan(config, base), config.search
    if search.variant == "grid":
        points = grid_points(config.space)
    else:
        points = random_points(config.space, 5, 0) if search.variant == "random" else []
    shown = points[:MOST_POINTS]
    data: dict[str, Any] = sweep_plan.to_json() | {
        "search": search.variant,
        "scheduler": config.scheduler.variant,
        "time": sweep_estimate(config, base, sweep_plan, epochs).to_json(),
    }
    data |= {"objective": f"{config.objective.mode} {config.objective.metric}", "points": shown}

    def show(console: Console) -> None:
        print_tree(console, {name: value for name, value in data.items() if name != "points"})
        for point in shown:
            console.print("  " + "  ".join(f"{name}={value}" for name, value in point.items()), markup=False)
        if len(points) > len(shown):
            console.print(f"  ... {len(points)} in all")

    return Result(data, show)
