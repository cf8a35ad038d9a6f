"""Commands of sweeps: plan, run and resume."""

from __future__ import annotations

__all__ = ["RunByDefault", "plan", "resume", "run"]

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.arguments import Address, DefaultGroup, Overrides, Recipe, Root, RunId
from services.cli.command import FAILED, Result, command
from services.cli.run_commands import command_for
from services.cli.tables import print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.sweeps.results import SweepResult


class RunByDefault(DefaultGroup):
    """`attn sweep RECIPE` runs it."""

    default = "run"


@command_for("sweep")
def run(recipe: Recipe, overrides: Overrides = None, run_id: RunId = None, address: Address = None) -> Result:
    from attn.runs.sweep import load_sweep
    from jobs.sweep import run as begin

    return _result(begin(load_sweep(recipe, overrides or []), run_id=run_id, address=address))


@command
def resume(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, as `attn ls` prints it.")],
    root: Root = "runs",
    address: Address = None,
) -> Result:
    """Continue an interrupted sweep; finished trials are kept."""
    from jobs.sweep import resume as go_on

    return _result(go_on(sweep, root=root, address=address))


@command
def plan(
    recipe: Recipe,
    overrides: Overrides = None,
    epoch: Annotated[
        float | None,
        typer.Option("--epoch-seconds", help="Duration of an epoch, to estimate the time from.", show_default=False),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run some training steps now, to estimate the time from.")
    ] = False,
) -> Result:
    """Show the trials, resources and estimated time of a sweep or a run, without starting it."""
    from attn.runs.composed import ComposedConfig
    from attn.runs.recipes import load_any_config
    from attn.runs.sweep import load_sweep
    from attn.runs.sweep.load import TrialConfig, trial_config
    from attn.runs.sweep.space import grid_points, random_points
    from attn.training.run_config import RunConfig
    from jobs.sweeps.estimate import Epochs, run_estimate, sweep_estimate
    from jobs.sweeps.plan import make_plan

    def epochs(run: TrialConfig) -> Epochs | None:
        if measure:
            from jobs.sweeps.measured_steps import measured_epochs

            return measured_epochs(run)
        return None if epoch is None else Epochs((epoch, epoch, epoch), "--epoch-seconds")

    given = load_any_config(recipe, overrides or [])
    if isinstance(given, RunConfig):
        resources = {"epochs": given.training.epochs, "batch_size": given.training.batch_size}
        resources |= {"workers": given.cluster.workers, "time": run_estimate(given, epochs(given)).to_json()}
        return Result(resources, lambda console: print_tree(console, resources))
    if isinstance(given, ComposedConfig):
        from services.plan import what_of

        what = what_of(given)
        return Result(what, lambda console: print_tree(console, what))
    config, base = load_sweep(recipe, overrides or [])
    sweep_plan = make_plan(config, base)
    search = config.search
    if search.variant == "grid":
        points = grid_points(config.space)
    else:
        points = random_points(config.space, 5, 0) if search.variant == "random" else []
    shown = points[:12]
    data: dict[str, Any] = sweep_plan.to_json() | {
        "search": search.variant,
        "scheduler": config.scheduler.variant,
        "time": sweep_estimate(config, base, sweep_plan, epochs(trial_config(base, {}))).to_json(),
    }
    data |= {"objective": f"{config.objective.mode} {config.objective.metric}", "points": shown}

    def show(console: Console) -> None:
        print_tree(console, {name: value for name, value in data.items() if name != "points"})
        for point in shown:
            console.print("  " + "  ".join(f"{name}={value}" for name, value in point.items()), markup=False)
        if len(points) > len(shown):
            console.print(f"  ... {len(points)} in all")

    return Result(data, show)


def _result(result: SweepResult) -> Result:
    from jobs.sweeps.results import table

    status = 0 if result.best is not None else FAILED
    return Result(result.to_json(), lambda console: console.print(table(result)), status)
