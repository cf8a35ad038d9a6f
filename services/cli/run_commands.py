"""The commands of kinds of runs: each runs a recipe or file with overrides."""

from __future__ import annotations

__all__ = ["add_kinds", "command_for", "command_of", "continued"]

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from attn.runs.table import KINDS, file_kinds
from services.cli.arguments import Address, OrResume, Overrides, Recipe, RunId
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.roots import takes_root

if TYPE_CHECKING:
    from attn.runs.result import RunResult


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
    def run(
        recipe: Recipe,
        overrides: Overrides = None,
        run_id: RunId = None,
        or_resume: OrResume = False,
        address: Address = None,
    ) -> Result:
        from attn.runs.recipes import load_run
        from attn.runs.started import recipe_of, started_from
        from attn.runs.table import job_of

        config = load_run(recipe, kind, overrides or [])
        if or_resume and (there := continued(kind, config.root, run_id, address)) is not None:
            return shown(there)
        with started_from(recipe_of(recipe, overrides or [])):
            return shown(job_of(kind).run(config, run_id=run_id, address=address))

    return run


def continued(kind: str, root: str, run_id: str | None, address: str | None) -> RunResult | None:
    """For `--or-resume`: continue the run of this name, as it was begun; None if there is none.

    Raises:
        ConfigError: No name is given.
        RunError: The run of this name is of another kind, or it is still running.
    """
    from attn.errors import ConfigError, Fault
    from jobs.runs.claim import check_kind
    from jobs.runs.run_folder import RunFolder

    if run_id is None:
        raise ConfigError([Fault("--or-resume", "does not say which run is continued", "give --run-id NAME")])
    folder = RunFolder(root, run_id)
    if not folder.exists():
        return None
    from jobs.resume import resume

    check_kind(folder, folder.state(), kind)
    return resume(run_id, root=root, address=address)


def add_kinds(app: typer.Typer) -> None:
    """Add a command for each kind of run with files that has no command or group yet."""
    commands = {one.name or getattr(one.callback, "__name__", None) for one in app.registered_commands}
    groups = {one.name for one in app.registered_groups}
    for kind in file_kinds():
        if kind not in commands | groups:
            app.command(kind)(command_of(kind))
