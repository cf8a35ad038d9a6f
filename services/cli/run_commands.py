"""The commands of kinds of runs: each runs a recipe or file with overrides."""

from __future__ import annotations

__all__ = ["OPENING", "add_kinds", "command_for", "command_of", "continued"]

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from attn import progress
from attn.runs.table import KINDS, file_kinds
from services.cli.arguments import Address, OrResume, Overrides, Recipe, RunId
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.roots import takes_root

if TYPE_CHECKING:
    from attn.runs.result import RunResult
    from jobs.runs.run_folder import RunFolder

OPENING = "loading libraries and the config"


def command_for(kind: str) -> Callable[[Callable[..., Result | None]], Callable[..., None]]:
    """As `command`, for the command of a kind; its help is the kind's summary."""

    def decorate(body: Callable[..., Result | None]) -> Callable[..., None]:
        @functools.wraps(body)
        def run(*args: Any, **options: Any) -> Result | None:
            with progress.opening(OPENING):
                return body(*args, **options)

        run.__doc__ = KINDS[kind].summary
        return command(run)

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
        if or_resume and (there := continued(kind, config, run_id, address)) is not None:
            return shown(there)
        with started_from(recipe_of(recipe, overrides or [])):
            return shown(job_of(kind).run(config, run_id=run_id, address=address))

    return run


def continued(kind: str, given: Any, run_id: str | None, address: str | None) -> RunResult | None:
    """For `--or-resume`: continue the run of this name, as it was begun; None if there is none.

    Tells which of the given values are not used.

    Args:
        given: As `load_run` returns it.

    Raises:
        ConfigError: No name is given.
        RunError: The run of this name is of another kind, it is still running, or it has failed by its own fault.
    """
    from attn.errors import ConfigError, Fault, RunError
    from jobs.runs.claim import SHOWN, check_kind
    from jobs.runs.run_folder import RunFolder

    if run_id is None:
        raise ConfigError([Fault("--or-resume", "does not say which run is continued", "give --run-id NAME")])
    config, base = given if isinstance(given, tuple) else (given, None)
    folder = RunFolder(config.root, run_id)
    if not folder.exists():
        return None
    from jobs.resume import resume

    state = folder.state()
    check_kind(folder, state, kind)
    if state.state == "failed" and state.cause is None:
        raise RunError(
            f"run {run_id!r} has failed, and would fail again: {state.error or 'it does not say why'}; "
            f"{folder.resuming} goes on with it once that is mended, or choose another --run-id"
        )
    if differing := _differing(folder, config, base):
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        progress.say(
            f"run {run_id!r} goes on with its own values of {', '.join(differing[:SHOWN])}{more}; those given here are "
            "not used"
        )
    return resume(run_id, root=config.root, address=address)


def _differing(folder: RunFolder, config: Any, base: str | None) -> list[str]:
    """Fields in which a run differs from what is given now."""
    from attn.config.document import read_document
    from attn.tracking.description import flattened
    from jobs.runs.same_run import changed_fields

    file = "config.yaml" if base is None else "sweep.yaml"
    if not folder.exists(file):
        return []
    names = changed_fields(config, read_document(folder.read_text(file), folder.path(file)).values)
    if base is None:
        return names
    new, old = (flattened(read_document(text, "base.yaml").values) for text in (base, folder.read_text("base.yaml")))
    of_trials = [name for name in {**new, **old} if name != "root" and new.get(name) != old.get(name)]
    return [name for name in names if name.split(".")[0] not in ("recipe", "set")] + of_trials


def add_kinds(app: typer.Typer) -> None:
    """Add a command for each kind of run with files that has no command or group yet."""
    commands = {one.name or getattr(one.callback, "__name__", None) for one in app.registered_commands}
    groups = {one.name for one in app.registered_groups}
    for kind in file_kinds():
        if kind not in commands | groups:
            app.command(kind)(command_of(kind))
