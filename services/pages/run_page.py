"""The page of one run, its curves, pictures and events, and the buttons that cancel and resume it."""

from __future__ import annotations

__all__ = ["run_routes"]

import asyncio
import hashlib
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

from attn.errors import AttnError, RunError
from attn.files.roots import is_inside
from jobs.runs.listing import entry_of
from jobs.runs.reported import finite, last_report, seconds_left
from jobs.runs.run_folder import RunFolder, is_run_id
from services.forms import form_of
from services.job_desk import JobDesk
from services.pages.caching import cached
from services.pages.run_files import curves_of, is_own, picture_of, pictures_of, tail_of
from services.pages.run_list import RunCatalog
from services.pages.run_view import RunView
from services.pages.site import Site
from services.pages.watching import Watching
from services.pages.workers import Call
from services.table import ENDED, Job

READ_RUN = "services.pages.read_run:read_run"
KEPT = 64
KNOWN_SECONDS = 10.0
VERSION_FILES = ("run.json", "progress.json", "metrics.jsonl")
BEST = "best.yaml"
RESUMABLE = ("failed", "cancelled", "lost")


class _Views:
    """Each version of a run is read once, however many browsers show it."""

    def __init__(self, site: Site, desk: JobDesk | None, call: Call) -> None:
        self.site, self.desk, self.call = site, desk, call
        self._kept: OrderedDict[str, tuple[str, RunView]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._read_at: dict[str, float] = {}

    def job(self, run_id: str) -> Job | None:
        """The job of a run."""
        return self.desk.table.get(run_id) if self.desk is not None and is_run_id(run_id) else None

    def log(self, folder: RunFolder) -> Path | None:
        """Where the run's log is, if it has one here."""
        if self.desk is not None and folder.root == self.site.root:
            log = self.desk.supervisor.log(folder.run_id)
            return log if is_inside(str(log), str(log.parent)) else None
        return Path(folder.path("job.log")) if folder.is_local and is_own(folder, "job.log") else None

    def version(self, folder: RunFolder) -> str:
        """A text that changes with what the page shows."""
        digest = hashlib.sha256()
        for name in VERSION_FILES:
            try:
                digest.update(folder.read(name) if folder.exists(name) else b"-")
            except AttnError as error:
                digest.update(str(error).encode())
        job, log = self.job(folder.run_id), self.log(folder)
        try:
            size = log.stat().st_size if log is not None else 0
        except OSError:
            size = 0
        digest.update(repr((job and (job.state, job.cancel, job.attempt), size)).encode())
        return digest.hexdigest()[:16]

    async def read(self, folder: RunFolder) -> tuple[str, RunView]:
        """A run's version, and what is read of it."""
        async with self._locks.setdefault(folder.uri, asyncio.Lock()):
            version = await run_in_threadpool(self.version, folder)
            kept = self._kept.get(folder.uri)
            # What others write of a run, such as its evaluations, does not change its version.
            if kept is None or kept[0] != version or time.monotonic() - self._read_at[folder.uri] > KNOWN_SECONDS:
                kept = version, await self.call(READ_RUN, folder.root, folder.run_id)
                self._read_at[folder.uri] = time.monotonic()
            self._kept[folder.uri] = kept
            self._kept.move_to_end(folder.uri)
            while len(self._kept) > KEPT:
                uri = self._kept.popitem(last=False)[0]
                self._locks.pop(uri, None)
                self._read_at.pop(uri, None)
            return kept


def run_routes(site: Site, catalog: RunCatalog, desk: JobDesk | None, watching: Watching, call: Call) -> APIRouter:
    """Create the routes of a run's page."""
    router, views = APIRouter(include_in_schema=False), _Views(site, desk, call)

    @router.get("/view/runs/{run_id}")
    async def page(request: Request, run_id: str) -> HTMLResponse:
        job = await run_in_threadpool(views.job, run_id)
        if job is not None and not await run_in_threadpool(RunFolder(site.root, run_id).exists):
            return await run_in_threadpool(waiting, request, job)
        folder = await run_in_threadpool(site.folder, run_id)
        version, view = await views.read(folder)
        return await run_in_threadpool(shown, request, folder, version, view, job)

    def waiting(request: Request, job: Job) -> HTMLResponse:
        assert desk is not None, "a job is of a service"
        log = tail_of(desk.supervisor.log(job.id), ended=job.state in ENDED)
        return site.render(request, "job.html", job=job, shown=desk.status(job), log=log, **actions(job, job.state))

    def shown(request: Request, folder: RunFolder, version: str, view: RunView, job: Job | None) -> HTMLResponse:
        try:
            entry = entry_of(folder, folder.state())
            report = last_report(folder, entry.state) if entry.driver in ("here", "elsewhere") else {}
        except AttnError:
            report = {}
        report = {name: value for name, value in report.items() if isinstance(value, str) or finite(value) is not None}
        log, state = views.log(folder), view.page["state"]
        live = state in ("starting", "running", "waiting") or (job is not None and job.state not in ENDED)
        pictures = pictures_of(folder)
        return site.render(
            request,
            "run.html",
            view=view,
            page=view.page,
            version_shown=version if live else "",
            report=report,
            left=seconds_left(report),
            pictures=pictures,
            config=_config(folder),
            log="" if log is None else tail_of(log, ended=not live),
            others=[row.id for row in catalog.rows() if row.id != folder.run_id],
            overlaid=request.query_params.getlist("with"),
            has_best=any(file["name"] == BEST for file in view.page["files"]),
            job=job,
            **actions(job, state),
        )

    def actions(job: Job | None, state: str) -> dict[str, bool]:
        if job is None:
            return {"can_cancel": False, "can_resume": False}
        return {"can_cancel": job.state not in ENDED and job.cancel is None, "can_resume": job.state in RESUMABLE}

    @router.get("/view/runs/{run_id}/curves")
    def curves(request: Request, run_id: str) -> Response:
        folder = site.folder(run_id)
        content: dict[str, Any] = {"run": folder.run_id, "series": curves_of(folder)}
        return JSONResponse(content, headers={"Cache-Control": "no-cache"})

    @router.get("/view/runs/{run_id}/picture/{name:path}")
    def picture(request: Request, run_id: str, name: str) -> Response:
        try:
            return cached(request, picture_of(site.folder(run_id), name), "image/png")
        except RunError as error:
            raise HTTPException(404, str(error)) from None

    @router.get("/view/runs/{run_id}/best.yaml")
    def best(run_id: str) -> Response:
        folder = site.folder(run_id)
        if not is_own(folder, BEST):
            raise HTTPException(404, f"run {run_id!r} has no best trial")
        headers = {"Content-Disposition": f'attachment; filename="{folder.run_id}-best.yaml"'}
        return Response(folder.read_text(BEST), media_type="application/yaml", headers=headers)

    @router.get("/events/runs/{run_id}")
    async def events(run_id: str, known: str = "") -> StreamingResponse:
        folder = await run_in_threadpool(site.folder, run_id)
        return watching.events(folder.uri, lambda: views.version(folder), known)

    if desk is not None:

        @router.post("/view/runs/{run_id}/cancel")
        async def cancel(request: Request, run_id: str) -> RedirectResponse:
            now = (await form_of(request)).get("now") == "1"
            if now and request.state.role != "admin":
                raise HTTPException(403, "killing a job needs the role admin")
            await run_in_threadpool(desk.cancel, run_id, now=now)
            return RedirectResponse(f"/view/runs/{run_id}", status_code=303)

        @router.post("/view/runs/{run_id}/resume")
        def resume(run_id: str) -> RedirectResponse:
            desk.resume(run_id)
            return RedirectResponse(f"/view/runs/{run_id}", status_code=303)

    return router


def _config(folder: RunFolder) -> str:
    try:
        return folder.read_text("config.yaml") if is_own(folder, "config.yaml") else ""
    except AttnError as error:
        return str(error)
