"""All pages of the service, and of `attn view`, which has no jobs."""

from __future__ import annotations

__all__ = ["page_routes"]

from collections.abc import Iterator

from fastapi import APIRouter

from services.pages.log_in import log_in_routes
from services.pages.run_list import RunCatalog
from services.pages.runs_page import runs_routes
from services.pages.site import Site
from services.pages.static_files import static_routes
from services.pages.watching import Watching
from services.sessions import Sessions
from services.supervisor import Supervisor


def page_routes(
    site: Site, sessions: Sessions, supervisor: Supervisor | None, entry: str | None
) -> Iterator[APIRouter]:
    """Create the routes of the pages.

    Args:
        entry: As for `services.api.create_app`.
    """
    watching = Watching()
    yield static_routes()
    yield log_in_routes(site, sessions, entry)
    yield runs_routes(site, RunCatalog(site.root, supervisor), watching)
