"""The page of all runs, and its events."""

from __future__ import annotations

__all__ = ["runs_routes"]

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from services.pages.run_list import SORTS, Choice, RunCatalog, chosen, version_of
from services.pages.site import Site
from services.pages.watching import Watching


def runs_routes(site: Site, catalog: RunCatalog, watching: Watching) -> APIRouter:
    """Create the routes of the list of runs."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def runs(
        request: Request, q: str = "", state: str = "", kind: str = "", sort: str = "started", up: str = "0"
    ) -> HTMLResponse:
        rows = catalog.rows()
        scores = sorted({score.name for row in rows for score in row.scores})
        sorts = [*SORTS, *scores]
        choice = Choice(q, state, kind, sort if sort in sorts else "started", up == "1")
        return site.render(
            request,
            "runs.html",
            rows=chosen(rows, choice),
            all=len(rows),
            choice=choice,
            states=sorted({row.state for row in rows} | ({state} - {""})),
            kinds=sorted({row.kind for row in rows} | ({kind} - {""})),
            sorts=sorts,
            root=site.root,
            version_shown=version_of(rows),
        )

    @router.get("/events/runs")
    async def events(known: str = "") -> StreamingResponse:
        return watching.events("runs", catalog.version, known)

    return router
