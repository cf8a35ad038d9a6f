"""The command that checks whether this machine or cluster is ready for runs."""

from __future__ import annotations

__all__ = ["doctor"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn.wording import counted
from services.cli.arguments import Address
from services.cli.command import FAILED, Result, command
from services.cli.roots import takes_root

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@command
@takes_root("lookup")
def doctor(
    lookup: Annotated[
        list[str] | None,
        typer.Argument(metavar="a.b=value", help="tracking.uri= that your runs will use.", show_default=False),
    ] = None,
    address: Address = None,
) -> Result:
    """Check packages, CRF, disks, clocks, root, tracking server and credentials, here or on every node of a cluster.

    The exit status is 1 if a check failed.
    """
    from jobs.doctor import run
    from jobs.runs.open_model import model_lookup

    result = run(model_lookup(["tracking.enabled=true", *(lookup or [])], only=True), address=address)

    def show(console: Console) -> None:
        from rich.text import Text

        for node, finding in result.findings:
            line = Text(f"{finding.status:<5}", STYLES[finding.status])
            console.print(line + Text(f"{node}: {finding.check}: {finding.text}", "not bold default"))
            if finding.fix:
                console.print(f"      fix: {finding.fix}", markup=False)
        count = sum(finding.status == "fail" for _, finding in result.findings)
        console.print("all checks passed" if result.ok else f"{counted(count, 'check')} failed")

    return Result(result.to_json(), show, status=0 if result.ok else FAILED)
