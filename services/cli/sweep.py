"""Commands of sweeps: run and resume."""

from __future__ import annotations

__all__ = ["RunByDefault", "resume", "run"]

from typing import Annotated

import typer

from services.cli.arguments import Address, DefaultGroup, Root
from services.cli.command import Result, command
from services.cli.results import shown
from services.cli.run_commands import command_of


class RunByDefault(DefaultGroup):
    """`attn sweep RECIPE` runs it."""

    default = "run"


run = command_of("sweep")


@command
def resume(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, as `attn ls` prints it.")],
    root: Root = "runs",
    address: Address = None,
) -> Result:
    """Continue an interrupted sweep; finished trials are kept."""
    from jobs.sweep import resume as go_on

    return shown(go_on(sweep, root=root, address=address))
