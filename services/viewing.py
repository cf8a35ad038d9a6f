"""Shows one run or one map store in a browser, for the user who asked and without a jobs service."""

from __future__ import annotations

__all__ = ["view"]

import secrets

from attn.errors import RunError
from attn.files import transfer
from attn.store import open as open_store
from jobs.runs.listing import find_run
from jobs.runs.run_folder import RunFolder
from services.api import create_app
from services.discovery import absolute_root
from services.output_redaction import redact_streams
from services.server import run_server

HOST = "127.0.0.1"
STORE = "store"
"""The name of a store that was given by its location, in the addresses of its pages."""


def view(target: str, root: str, port: int) -> None:
    """Serve the pages of a run or store on this machine until interrupted.

    The address that is printed has a key that is made for this process alone, so that other users of the machine see
    nothing. The other runs under the run's root can be seen, too, for comparison; nothing can be changed.

    Args:
        target: A run's name or folder, or the location of a map store.
        root: Where runs are looked for by name.

    Raises:
        AttnError: There is no such run or store, or it cannot be read.
    """
    stores: dict[str, str] = {}
    if _is_store(target):
        stores[STORE], page = open_store(target).uri, f"/view/maps/{STORE}"
    else:
        folder = RunFolder.of(target, root)
        if not folder.exists() and "/" in target and transfer.exists(target):
            raise RunError(f"{target} is neither a run nor a map store: it has no run.json and no store.json")
        find_run(folder)
        root, page = folder.root, f"/view/runs/{folder.run_id}"
    key = secrets.token_urlsafe(32)
    app = create_app(absolute_root(root), tokens={secrets.token_urlsafe(32): "read"}, stores=stores, entry=key)
    with redact_streams():
        run_server(app, HOST, port, page=f"/enter/{key}?next={page}")


def _is_store(target: str) -> bool:
    return transfer.exists(f"{target.rstrip('/')}/store.json")
