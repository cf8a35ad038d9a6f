"""The command that serves a trained model's predictions."""

from __future__ import annotations

__all__ = ["deploy"]

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from attn.errors import ConfigError, Fault
from services.cli.arguments import Address, Overrides
from services.cli.command import Result, command
from services.cli.roots import takes_root
from services.cli.serve import LOOPBACK

if TYPE_CHECKING:
    from rich.console import Console


@command
@takes_root("overrides")
def deploy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME@ALIAS of the registry, whose moves it follows; or a folder.")
    ],
    overrides: Overrides = None,
    address: Address = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs --tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8001,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="JSON file {TOKEN: ROLE} as of attn serve; every role may predict. By default the token of the "
            "root's service.", show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Require no token: every user of this machine may predict.")
    ] = False,
) -> Result:  # fmt: skip
    """Serve a trained model's predictions over HTTP, on Ray Serve, until interrupted.

    For example: attn deploy gain@production min_replicas=2
    """
    if host not in LOOPBACK and tokens is None:
        fault = Fault(f"--host {host}", "without --tokens the service listens on this machine only", "--tokens FILE")
        raise ConfigError([fault])
    if no_token and tokens is not None:
        raise ConfigError([Fault("--no-token", "contradicts --tokens", "give one of them")])
    from attn.config.document import override_of
    from attn.config.resolve import resolve
    from services.access import digests_of, read_tokens
    from services.discovery import absolute_root
    from services.prediction_service.config import DeployConfig
    from services.prediction_service.running import deploy as run

    named = os.path.abspath(model) if os.path.isdir(model) else model
    config = resolve(DeployConfig, "", "options", [override_of("model", named), *(overrides or [])])
    config = config.model_copy(
        update={"root": absolute_root(config.root), "any_host": config.any_host or host not in LOOPBACK}
    )
    known, note = (
        ({}, "no token is required") if no_token else (read_tokens(tokens), "") if tokens else _own(config.root)
    )

    def ready(url: str) -> None:
        print(f"serving {url}", *([note] if note else []), sep="\n", file=sys.stderr, flush=True)

    run(config, digests_of(known), address=address, host=host, port=port, ready=ready)

    def show(console: Console) -> None:
        console.print("stopped")

    return Result({"stopped": True}, show)


def _own(root: str) -> tuple[dict[str, str], str]:
    """The token of the root's service, which is made if there is none, and where it is."""
    from pathlib import Path

    from services.discovery import TOKEN_FILE, state_dir_of
    from services.own_token import claim_state_dir, own_token

    state_dir = Path(state_dir_of(root))
    claim_state_dir(state_dir)
    return {own_token(state_dir / TOKEN_FILE): "admin"}, f"token {state_dir / TOKEN_FILE}"
