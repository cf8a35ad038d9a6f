"""The commands of kinds of runs: each runs a recipe or file with overrides."""

from __future__ import annotations

__all__ = ["add_kinds", "command_for", "command_of"]

from collections.abc import Callable

import typer

from attn.runs.table import KINDS, file_kinds
from services.cli.arguments import Address, Overrides, Recipe, RunId
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.roots import takes_root


def command_for(kind: str) -> Callable[[Callable[..., Result | None]], Callable[..., None]]:
    """As `command`, for the command of a kind; its help is the kind's summary."""

    def decorate(body: Callable[..., Result | None]) -> Callable[..., None]:
        body.__doc__ = KINDS[kind].summary
        return command(body)

    return decorate


def command_of(kind: str) -> Callable[..., None]:
    """The command that runs a kind."""

    @command_for(kind)
    @takes_root("overrides")
    def run(recipe: Recipe, overrides: Overrides = None, run_id: RunId = None, address: Address = None) -> Result:
        from attn.runs.recipes import load_run
        from attn.runs.started import recipe_of, started_from
        from attn.runs.table import job_of

        config = load_run(recipe, kind, overrides or [])
        with started_from(recipe_of(recipe, overrides or [])):
            return shown(job_of(kind).run(config, run_id=run_id, address=address))

    return run


def add_kinds(app: typer.Typer) -> None:
    """Add a command for each kind of run with files that has no command or group yet."""
    commands = {one.name or getattr(one.callback, "__name__", None) for one in app.registered_commands}
    groups = {one.name for one in app.registered_groups}
    for kind in file_kinds():
        if kind not in commands | groups:
            app.command(kind)(command_of(kind))
