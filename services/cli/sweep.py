"""Commands of sweeps: run and resume."""

from __future__ import annotations

__all__ = ["RunByDefault", "resume", "run"]

from typing import Annotated

import typer

from services.cli.arguments import Address, DefaultGroup, OrResume, Overrides, Recipe, Root, RunId
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.roots import takes_root
from services.cli.run_commands import command_for, continued


class RunByDefault(DefaultGroup):
    """`attn sweep RECIPE` runs it."""

    default = "run"


@command_for("sweep")
@takes_root("overrides")
def run(
    recipe: Recipe,
    overrides: Overrides = None,
    run_id: RunId = None,
    or_resume: OrResume = False,
    address: Address = None,
) -> Result:
    from attn.runs.started import recipe_of, started_from
    from attn.runs.sweep import load_sweep
    from jobs.sweep import run as begin

    loaded = load_sweep(recipe, overrides or [])
    if or_resume and (there := continued("sweep", loaded.config, run_id, address, base=loaded.base)) is not None:
        return shown(there)
    with started_from(recipe_of(recipe, overrides or [])):
        return shown(begin(loaded, run_id=run_id, address=address))


@command
def resume(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, as `attn ls` prints it.")],
    root: Root = "runs",
    address: Address = None,
) -> Result:
    """Continue an interrupted sweep; finished trials are kept."""
    from jobs.sweep import resume as go_on

    return shown(go_on(sweep, root=root, address=address))
