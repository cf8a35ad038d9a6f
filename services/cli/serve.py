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
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs --tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
    slots: Annotated[int, typer.Option(min=1, help="Most jobs that run at once.")] = 1,
    restarts: Annotated[
        int, typer.Option(min=0, help="How often a job whose process or cluster was lost goes on by itself.")
    ] = 0,
    max_queued: Annotated[
        int, typer.Option("--max-queued", min=1, help="Largest number of waiting jobs; further ones are refused.")
    ] = 1000,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="JSON file {TOKEN: ROLE} with roles read, submit or admin. By default the service creates a token "
            "for its own user.", show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Require no token: every user of this machine may do everything.")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="ATTN_SERVICE_DATABASE", show_envvar=True, show_default=False,
            help="SQLAlchemy URL of the job table; by default an SQLite file under the root.",
        ),
    ] = None,
    ray_jobs: Annotated[
        str | None,
        typer.Option(
            help="Run jobs on a Ray cluster: URL of its job server, e.g. http://HEAD:8265.", show_default=False
        ),
    ] = None,
    data_root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", show_default=False,
            help="Further folder or s3:// prefix that jobs may read; may be given several times.",
        ),
    ] = None,
) -> Result:  # fmt: skip
    """Run the jobs service, an HTTP API for jobs and runs, until interrupted. Its jobs continue without it."""
    if host not in LOOPBACK and tokens is None:
        raise ConfigError(
            [
                Fault(
                    f"--host {host}",
                    "without --tokens the service listens on this machine only",
                    "give --tokens FILE; or use 127.0.0.1 and an SSH tunnel: ssh -L 8000:127.0.0.1:8000 HOST",
                )
            ]
        )
    if no_token and tokens is not None:
        raise ConfigError([Fault("--no-token", "contradicts --tokens", "give one of them")])
    if ray_jobs is not None and not PLAIN_URL.fullmatch(ray_jobs):
        what = "is not the plain URL of a job server"
        raise ConfigError([Fault("--ray-jobs", what, "http://HEAD:8265; the token is read from RAY_AUTH_TOKEN_PATH")])
    from attn.files.patience import BRIEF_PATIENCE_SECONDS, patience
    from services.discovery import absolute_root
    from services.serving import serve as run

    with patience(BRIEF_PATIENCE_SECONDS):  # whoever asks it waits
        run(
            absolute_root(root), host, port,
            slots=slots, restarts=restarts, max_queued=max_queued, database=database, tokens=tokens, no_token=no_token,
            ray_jobs=ray_jobs, any_host=host not in LOOPBACK,
            data_roots=tuple(map(_data_root, data_root or [])),
        )  # fmt: skip

    def show(console: Console) -> None:
        console.print("stopped")

    return Result({"stopped": True}, show)


def _data_root(given: str) -> str:
    """Check a folder or prefix that clients' jobs may read.

    Raises:
        ConfigError: The folder does not exist, or the prefix is invalid.
    """
    from attn.config.base import is_remote
    from attn.redaction import without_secrets
    from services.discovery import absolute_root

    location, shown = absolute_root(given), f"--data-root {without_secrets(given)}"
    if is_remote(location):
        if not location.removeprefix("s3://").strip("/") or "@" in location:
            raise ConfigError([Fault(shown, "is not a prefix of an object store", "s3://bucket or s3://bucket/prefix")])
    elif not os.path.isdir(location):
        raise ConfigError(
            [Fault(shown, "is not a folder of this machine", "an existing folder, or s3://bucket/prefix")]
        )
    return location
