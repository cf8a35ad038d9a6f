"""Commands that start, continue, score and list runs."""

from __future__ import annotations

__all__ = ["evaluate", "ls", "maps", "resume"]

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.arguments import Address, Overrides, Root, RunId, Service
from services.cli.command import Result, command
from services.cli.run_commands import command_for
from services.cli.tables import moment, print_rows, print_tree

if TYPE_CHECKING:
    from rich.console import Console


@command
def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, as `attn ls` prints it.")],
    root: Root = "runs",
    address: Address = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --service: wait until the job has ended.")] = False,
    service: Service = None,
) -> Result:
    """Continue an interrupted run of any kind: here, or with --service as that service's job."""
    if service:
        from services.cli.jobs import resume_there

        return resume_there(run, root, service, wait)
    from jobs.resume import resume as continue_run

    return _result(continue_run(run, root=root, address=address).to_json())


@command_for("evaluate")
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
) -> Result:
    from jobs.evaluate import load, run, table

    result = run(load(target, overrides or []), run_id=run_id)
    return Result(result.to_json(), lambda console: console.print(table(result)))


@command_for("maps")
def maps(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A trained model's folder, a run's name, or NAME@ALIAS of the registry."),
    ],
    overrides: Overrides = None,
    run_id: RunId = None,
    address: Address = None,
) -> Result:
    from jobs.maps import load, run

    return _result(run(load(model, overrides or []), run_id=run_id, address=address).to_json())


@command
def ls(root: Root = "runs", service: Service = None) -> Result:
    """List the runs under a folder, or the jobs of a service, newest first."""
    if service:
        from services.cli.jobs import list_there

        runs = list_there(root, service)
    else:
        from jobs.runs.listing import list_runs

        runs = [run.to_json() for run in list_runs(root)]

    def show(console: Console) -> None:
        if not runs:
            console.print(f"no runs under {root}", markup=False)
        print_rows(
            console, [(run["id"], run.get("state") or "", moment(run.get("started")), _broken(run)) for run in runs]
        )

    return Result({"runs": runs}, show)


def _broken(run: dict[str, Any]) -> str:
    """Why a run's files cannot be read; empty if they can."""
    return (run.get("error") if run.get("state") == "broken" else run.get("broken")) or ""


def _result(data: dict[str, Any]) -> Result:
    return Result(data, lambda console: print_tree(console, data))
