"""All pages of the service, and of `attn view`, which has no jobs."""

from __future__ import annotations

__all__ = ["page_routes"]

from collections.abc import Iterator

from fastapi import APIRouter

from services.job_desk import JobDesk
from services.pages.log_in import log_in_routes
from services.pages.map_page import map_routes
from services.pages.run_list import RunCatalog
from services.pages.run_page import run_routes
from services.pages.runs_page import runs_routes
from services.pages.site import Site
from services.pages.static_files import static_routes
from services.pages.watching import Watching
from services.pages.workers import Call
from services.sessions import Sessions


def page_routes(
    site: Site, sessions: Sessions, desk: JobDesk | None, entry: str | None, call: Call
) -> Iterator[APIRouter]:
    """Create the routes of the pages.

    Args:
        entry: As for `services.api.create_app`.
        call: Where costly reading is done.
    """
    watching, catalog = Watching(), RunCatalog(site.root, None if desk is None else desk.supervisor)
    yield static_routes()
    yield log_in_routes(site, sessions, entry)
    yield runs_routes(site, catalog, watching)
    yield run_routes(site, catalog, desk, watching, call)
    yield map_routes(site, catalog, call)
