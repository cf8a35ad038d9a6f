"""The HTTP service: the runs under a root, the jobs that the service runs there, and the pages for a browser."""

from __future__ import annotations

__all__ = ["create_app"]

import json
from typing import Any

from fastapi import FastAPI, HTTPException

from attn import __version__
from attn.config.document import read_document
from attn.errors import AttnError, RunError
from attn.run_state import BROKEN
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import NoSuchRunError, RunFolder, is_run_id
from services.access import Guard
from services.hosts import AllowedHosts
from services.job_desk import JobDesk
from services.jobs import job_routes
from services.models import Health, Problem, RunDetail, RunList, RunSummary
from services.openapi import describe_problems
from services.output_redaction import RedactSecrets, add_secrets
from services.pages.answers import BrowserAnswers
from services.pages.routes import page_routes
from services.pages.site import Site
from services.pages.workers import Call, in_thread
from services.problems import add_problem_handlers
from services.response_cache import ResponseCache
from services.sessions import Sessions
from services.supervisor import Supervisor


def create_app(
    root: str,
    supervisor: Supervisor | None = None,
    *,
    tokens: dict[str, str] | None = None,
    any_host: bool = False,
    stores: dict[str, str] | None = None,
    entry: str | None = None,
    call: Call = in_thread,
) -> FastAPI:
    """Create the application for the runs under a folder or `s3://` prefix.

    Args:
        supervisor: Runs the jobs; without one the service is read-only.
        tokens: Roles by token; empty: every request has the role `admin`.
        any_host: Accept any `Host` header. Otherwise only names of this machine are accepted, which stops DNS
            rebinding: a web page of another site cannot read the service through a host name of its own.
        stores: Further map stores to show, by name.
        call: Where the pages' costly reading is done.
        entry: A secret; the page `/enter/SECRET` logs in with the only token.
    """
    # FastAPI's documentation pages load scripts from other servers.
    app = FastAPI(title="attn", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    add_secrets(tokens or {})
    app.add_middleware(RedactSecrets)  # innermost, so that cached answers are redacted already
    if supervisor is not None:
        app.add_middleware(ResponseCache, version=lambda: supervisor.table.changes)
    sessions = Sessions(tokens or {})
    site = Site(root, has_jobs=supervisor is not None, stores=stores)
    app.add_middleware(Guard, sessions=sessions)
    if not any_host:
        app.add_middleware(AllowedHosts)
    app.add_middleware(BrowserAnswers, site=site)
    add_problem_handlers(app)
    describe_problems(app)

    @app.get("/healthz")
    async def healthz() -> Health:
        """Return whether the service answers. It uses no worker thread, so it answers while all of them are busy."""
        return Health(status="ok", version=__version__)

    @app.get("/runs")
    def runs() -> RunList:
        """All runs, newest first."""
        return RunList(runs=[RunSummary.model_validate(state.to_json()) for state in list_runs(root)])

    @app.get("/runs/{run_id}", responses={404: {"model": Problem, "description": "no such run"}})
    def run(run_id: str) -> RunDetail:
        """One run: state, last metrics and resolved config."""
        if not is_run_id(run_id):
            raise HTTPException(404, f"no run {run_id!r}; GET /runs lists them")
        folder = RunFolder(root, run_id)
        try:
            state = folder.state()
        except NoSuchRunError as error:
            raise HTTPException(404, str(error)) from None
        except AttnError as error:
            return RunDetail(id=run_id, state=BROKEN, error=str(error), config={})
        try:
            config = _config(folder)
        except AttnError as error:
            return RunDetail.model_validate({**state.to_json(), "state": BROKEN, "error": str(error), "config": {}})
        return RunDetail.model_validate({**state.to_json(), "config": config})

    desk = None if supervisor is None else JobDesk(root, supervisor)
    if desk is not None:
        app.include_router(job_routes(root, desk))
    for router in page_routes(site, sessions, desk, entry, call):
        app.include_router(router)
    return app


def _config(folder: RunFolder) -> dict[str, Any]:
    """A run's resolved config as JSON values; empty if it has none yet.

    Raises:
        AttnError: The file cannot be read.
    """
    if not folder.exists("config.yaml"):
        return {}
    name = folder.path("config.yaml")
    try:
        values = read_document(folder.read_text("config.yaml"), name).values
        return json.loads(json.dumps(values))
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{name} is damaged: {type(error).__name__}") from None
