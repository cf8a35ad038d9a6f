"""The command that checks whether this machine or cluster is ready for runs."""

from __future__ import annotations

__all__ = ["doctor"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Address
from services.cli.command import FAILED, Result, command

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@command
def doctor(
    lookup: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="a.b=value", help="root= and tracking.uri= that your runs will use.", show_default=False
        ),
    ] = None,
    address: Address = None,
) -> Result:
    """Check packages, CRF, disks, clocks, root, tracking server and credentials, here or on every node of a cluster.

    The exit status is 1 if a check failed.
    """
    from jobs.doctor import run

    data = run(lookup or [], address=address)

    def show(console: Console) -> None:
        from rich.text import Text

        for one in data["findings"]:
            line = Text(f"{one['status']:<5}", STYLES[one["status"]])
            console.print(line + Text(f"{one['node']}: {one['check']}: {one['text']}", "not bold default"))
            if one["fix"]:
                console.print(f"      fix: {one['fix']}", markup=False)
        count = sum(one["status"] == "fail" for one in data["findings"])
        console.print("all checks passed" if data["ok"] else f"{count} checks failed")

    return Result(data, show, status=0 if data["ok"] else FAILED)
