"""The command that starts the HTTP service."""

from __future__ import annotations

__all__ = ["serve"]

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from attn.errors import ConfigError, Fault
from services.cli.arguments import Root
from services.cli.command import Result, command

if TYPE_CHECKING:
    from rich.console import Console

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PLAIN_URL = re.compile(r"https?://[^/@?#\s]+(/[^@?#\s]*)?")


@command
def serve(
    root: Root = "runs",
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need --tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    slots: Annotated[int, typer.Option(min=1, help="Jobs that may run at once.")] = 1,
    max_queued: Annotated[
        int, typer.Option("--max-queued", min=1, help="Jobs that may wait; more are refused until some have started.")
    ] = 1000,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="JSON file of {TOKEN: ROLE}; roles are read, submit and admin. Without it the service makes a token "
            "for its own user.", show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for none: every user of this machine may then do everything.")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="ATTN_SERVICE_DATABASE", show_envvar=True, show_default=False,
            help="SQLAlchemy URL of the job table; an SQLite file under the root when left out.",
        ),
    ] = None,
    ray_jobs: Annotated[
        str | None,
        typer.Option(help="http://HEAD:8265, a Ray cluster's job server, to run jobs there.", show_default=False),
    ] = None,
    data_root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", show_default=False,
            help="Folder or s3:// prefix that jobs may read besides the root; may be given several times.",
        ),
    ] = None,
) -> Result:  # fmt: skip
    """Run jobs and answer questions about runs over HTTP, until interrupted; jobs go on without it."""
    if host not in LOOPBACK and tokens is None:
        raise ConfigError(
            [
                Fault(
                    f"--host {host}",
                    "without --tokens the service listens on this machine only",
                    "give --tokens FILE; or use 127.0.0.1 and go through SSH: ssh -L 8000:127.0.0.1:8000 HOST",
                )
            ]
        )
    if no_token and tokens is not None:
        raise ConfigError([Fault("--no-token", "contradicts --tokens", "give one of them")])
    if ray_jobs is not None and not PLAIN_URL.fullmatch(ray_jobs):
        what = "is not the plain URL of a job server"
        raise ConfigError([Fault("--ray-jobs", what, "http://HEAD:8265; the token is taken from RAY_AUTH_TOKEN_PATH")])
    from services.discovery import absolute_root
    from services.serving import serve as run

    run(
        absolute_root(root), host, port,
        slots=slots, max_queued=max_queued, database=database, tokens=tokens, no_token=no_token, ray_jobs=ray_jobs,
        any_host=host not in LOOPBACK,
        data_roots=tuple(map(_data_root, data_root or [])),
    )  # fmt: skip

    def show(console: Console) -> None:
        console.print("stopped")

    return Result({"stopped": True}, show)


def _data_root(given: str) -> str:
    """A folder or prefix that clients' jobs may read.

    Raises:
        ConfigError: There is no such folder, or it is no place.
    """
    from attn.config.base import is_remote
    from attn.redaction import without_secrets
    from services.discovery import absolute_root

    place, shown = absolute_root(given), f"--data-root {without_secrets(given)}"
    if is_remote(place):
        if not place.removeprefix("s3://").strip("/") or "@" in place:
            raise ConfigError([Fault(shown, "is no prefix of an object store", "s3://bucket or s3://bucket/prefix")])
    elif not os.path.isdir(place):
        raise ConfigError(
            [Fault(shown, "is no folder of this machine", "a folder that is there, or s3://bucket/prefix")]
        )
    return place
