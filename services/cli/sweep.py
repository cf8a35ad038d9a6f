"""Commands of sweeps: run and resume."""

from __future__ import annotations

__all__ = ["RunByDefault", "resume", "run"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Address, DefaultGroup, Overrides, Recipe, Root, RunId
from services.cli.command import FAILED, Result, command
from services.cli.roots import takes_root
from services.cli.run_commands import command_for

if TYPE_CHECKING:
    from jobs.sweeps.results import SweepResult


class RunByDefault(DefaultGroup):
    """`attn sweep RECIPE` runs it."""

    default = "run"


@command_for("sweep")
@takes_root("overrides")
def run(recipe: Recipe, overrides: Overrides = None, run_id: RunId = None, address: Address = None) -> Result:
    from attn.runs.started import recipe_of, started_from
    from attn.runs.sweep import load_sweep
    from jobs.sweep import run as begin

    with started_from(recipe_of(recipe)):
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


def _result(result: SweepResult) -> Result:
    from jobs.sweeps.results import table

    status = 0 if result.best is not None else FAILED
    return Result(result.to_json(), lambda console: console.print(table(result)), status)
