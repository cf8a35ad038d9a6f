"""Commands that start, continue and score runs."""

from __future__ import annotations

__all__ = ["evaluate", "maps", "resume"]

import sys
from typing import Annotated

import typer

from attn import progress
from services.cli.arguments import Address, Overrides, Root, RunId, Service
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.roots import takes_root
from services.cli.run_commands import OPENING, command_for


@command
def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, as `attn ls` prints it.")],
    root: Root = "runs",
    address: Address = None,
    wait: Annotated[bool, typer.Option("--wait", help="Of a service's job: wait until it has ended.")] = False,
    service: Service = None,
) -> Result:
    """Continue an interrupted run of any kind, here; a job of the root's service, or of --service, there."""
    from services.cli.jobs import resume_there

    if (there := resume_there(run, root, service, address=address, wait=wait)) is not None:
        return there
    if wait:
        print("note: --wait changes nothing: the run continues here, and this command ends with it", file=sys.stderr)
    with progress.opening(OPENING):
        from jobs.resume import resume as continue_run

        return shown(continue_run(run, root=root, address=address))


@command_for("evaluate")
@takes_root("overrides")
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_STORE",
            help="A trained model's folder, a run's name, or NAME@ALIAS of the registry; "
            "or the location of a map store, as URI (newest version) or URI@VERSION.",
        ),
    ],
    overrides: Overrides = None,
    run_id: RunId = None,
    address: Address = None,
) -> Result:
    from jobs.evaluate import load, run

    return shown(run(load(target, overrides or []), run_id=run_id, address=address))


@command_for("maps")
@takes_root("overrides")
def maps(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_STORE",
            help="A trained model's folder, a run's name, or NAME@ALIAS of the registry; "
            "or the location of a map store to refine, as URI (newest version) or URI@VERSION.",
        ),
    ],
    overrides: Overrides = None,
    run_id: RunId = None,
    address: Address = None,
) -> Result:
    from jobs.maps import load, run

    return shown(run(load(target, overrides or []), run_id=run_id, address=address))
