"""The command that starts the HTTP service."""

from __future__ import annotations

__all__ = ["serve"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn.cli.arguments import Root
from attn.cli.command import Result, command
from attn.errors import ConfigError, Fault

if TYPE_CHECKING:
    from rich.console import Console

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@command
def serve(
    root: Root = "runs",
    host: Annotated[str, typer.Option(help="Address to listen on; this machine's own only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
) -> Result:
    """Answer questions about runs over HTTP, on this machine."""
    if host not in LOOPBACK:
        raise ConfigError(
            [
                Fault(
                    f"--host {host}",
                    "the service has no log-in yet and listens on this machine only",
                    "use 127.0.0.1; from elsewhere, go through SSH: ssh -L 8000:127.0.0.1:8000 HOST",
                )
            ]
        )
    from services.api import create_app
    from services.server import run_server

    run_server(create_app(root), host, port)

    def show(console: Console) -> None:
        console.print("stopped")

    return Result({"stopped": True}, show)
