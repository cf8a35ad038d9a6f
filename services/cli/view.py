"""The command that shows a run or a map store in a browser."""

from __future__ import annotations

__all__ = ["view"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn import progress
from services.cli.arguments import Root
from services.cli.command import Result, command

if TYPE_CHECKING:
    from rich.console import Console


@command
def view(
    target: Annotated[
        str, typer.Argument(metavar="RUN|STORE", help="A run's name or folder, or the location of a map store.")
    ],
    root: Root = "runs",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 0,
) -> Result:
    """Show a run or a map store in a browser of this machine, until interrupted: prints the address to open."""
    with progress.reading("the run"):
        from services.viewing import view as serve
    serve(target, root, port)

    def show(console: Console) -> None:
        console.print("stopped")

    return Result({"stopped": True}, show)
