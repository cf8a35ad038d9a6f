"""Assembles the service: its state folder, its table, its supervisor and its web server."""

from __future__ import annotations

__all__ = ["serve"]

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from attn.tracking.sqlite import sqlite_uri
from services.access import read_tokens
from services.api import create_app
from services.discovery import ADDRESS_FILE, TOKEN_FILE, state_dir_of
from services.output_redaction import add_secrets, redact_streams
from services.own_token import claim_state_dir, own_token
from services.pages.workers import ProcessWorkers
from services.planning import warm_up
from services.server import run_server
from services.supervisor import Supervisor
from services.table import JobTable


def serve(
    root: str,
    host: str,
    port: int,
    *,
    slots: int,
    restarts: int,
    max_queued: int,
    database: str | None,
    tokens: str | None,
    no_token: bool,
    ray_jobs: str | None,
    any_host: bool,
    data_roots: tuple[str, ...],
) -> None:
    """Serve the jobs and runs under a root until interrupted. Jobs continue without the service.

    Args:
        tokens: File of tokens with their roles. Without one, the service creates a token for its own user.
        no_token: Require no token.

    Raises:
        AttnError: The tokens, the database, the state folder or the port cannot be used.
    """
    add_secrets(_passwords(database))
    with redact_streams():
        known = read_tokens(tokens) if tokens else {}
        state_dir = Path(state_dir_of(root))
        claim_state_dir(state_dir)
        table = JobTable(database or sqlite_uri(state_dir / "jobs.db"), max_queued=max_queued)
        supervisor = Supervisor(root, state_dir, table, slots, ray_jobs, data_roots, restarts)

        workers = ProcessWorkers((root, *data_roots))

        def begin() -> None:
            supervisor.start()
            warm_up()

        try:
            own = tokens is None and not no_token
            if own:
                known = {own_token(state_dir / TOKEN_FILE): "admin"}
            app = create_app(root, supervisor, tokens=known, any_host=any_host, call=workers)
            note = f"token {state_dir / TOKEN_FILE}: this user's attn finds it" if own else "no token is required"
            run_server(
                app, host, port, state_dir / ADDRESS_FILE,
                own_token=own, note=None if tokens else note, begin=begin,
            )  # fmt: skip
        finally:
            workers.close()
            supervisor.stop()
            table.close()


def _passwords(database: str | None) -> list[str]:
    """The password in a database's URL; the whole text if it is not a URL."""
    if database is None:
        return []
    try:
        password = make_url(database).password
    except (ArgumentError, ValueError):
        return [database]
    return [str(password)] if password else []
