"""Putting the service together: its home, its table, its supervisor and its server."""

from __future__ import annotations

__all__ = ["serve"]

from pathlib import Path
from urllib.parse import urlsplit

from attn.cli.service_place import ADDRESS_FILE, home_of
from attn.tracking.sqlite import sqlite_uri
from services.access import read_tokens
from services.api import create_app
from services.secrecy import add_secrets
from services.server import run_server
from services.supervisor import Supervisor
from services.table import JobTable


def serve(
    root: str,
    host: str,
    port: int,
    *,
    slots: int,
    database: str | None,
    tokens: str | None,
    ray_jobs: str | None,
    any_host: bool,
) -> None:
    """Serve the jobs and runs under a root until interrupted; jobs go on without the service.

    Raises:
        AttnError: The tokens, the database, the home or the port are not as they must be.
    """
    known = read_tokens(tokens) if tokens else {}
    add_secrets([password] if database and (password := urlsplit(database).password) else [])
    home = Path(home_of(root))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    table = JobTable(database or sqlite_uri(home / "jobs.db"))
    supervisor = Supervisor(root, home, table, slots, ray_jobs)
    supervisor.start()
    try:
        app = create_app(root, supervisor, tokens=known, any_host=any_host)
        run_server(app, host, port, home / ADDRESS_FILE)
    finally:
        supervisor.stop()
        table.close()
