"""The routes of jobs: submit, plan, list, status, log, cancel, resume; and metrics for Prometheus."""

from __future__ import annotations

__all__ = ["job_routes"]

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse, StreamingResponse

from attn.errors import ConfigError, Fault
from services.job_desk import JobDesk
from services.log import read_log
from services.models import JobList, JobStatus, Problem
from services.status import status_of
from services.submission import JOB_ID, Submission
from services.supervisor import Supervisor
from services.table import ENDED, RUNNING

FOLLOW_SECONDS = 1.0
PAGE_LIMIT = 500
JobId = Annotated[str, PathParameter(examples=["gain-1"])]
Offset = Annotated[int, Query(ge=0, lt=2**63)]
SAME: dict[int | str, dict[str, Any]] = {200: {"model": JobStatus, "description": "the same job as before"}}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "no such job"}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "not in this state"}}


def job_routes(root: str, desk: JobDesk) -> APIRouter:
    """Create the routes for the jobs of a service."""
    supervisor, table, router = desk.supervisor, desk.table, APIRouter()

    @router.post("/jobs", status_code=201, responses=SAME | CONFLICT)
    async def submit(submission: Submission, response: Response) -> JobStatus:
        """Submit a job. The same submission again returns the same job with status 200."""
        job, is_new = await desk.submit(submission)
        if not is_new:
            response.status_code = 200
        return job

    @router.post("/plan")
    async def plan(submission: Submission) -> dict[str, Any]:
        """Describe what a submission would run, without starting it."""
        return await desk.plan(submission)

    @router.get("/jobs")
    def jobs(
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 100,
        cursor: Annotated[str | None, Query(pattern=JOB_ID)] = None,
    ) -> JobList:
        """Jobs, newest first, a page at a time: `next` is the `cursor` of the next page, null after the last."""
        supervisor.require_state_dir()
        last = None if cursor is None else table.get(cursor)
        if cursor is not None and last is None:
            raise ConfigError([Fault("cursor", f"{cursor!r} is no job of this service", "`next` of the page before")])
        page = supervisor.page(limit + 1, last)
        shown = [status_of(job, root, waiting) for job, waiting in page[:limit]]
        return JobList(jobs=shown, next=shown[-1].id if len(page) > limit else None)

    @router.get("/jobs/{job_id}", responses=MISSING)
    def status(job_id: JobId) -> JobStatus:
        """One job: state, progress, time left and last scores."""
        return desk.status(desk.job(job_id))

    @router.get("/jobs/{job_id}/log", responses=MISSING, response_class=PlainTextResponse)
    def log(job_id: JobId, offset: Offset = 0, follow: bool = False) -> Response:
        """The log from a byte offset on; `Attn-Next-Offset` is the next offset. `follow` streams until the job ends."""
        job = desk.job(job_id)
        path = supervisor.log(job.id)
        if follow:
            return StreamingResponse(_tail(supervisor, job.id, path, offset), media_type="text/plain")
        data, whole = read_log(path, offset, ended=job.state in ENDED)
        headers = {"Attn-Next-Offset": str(offset + len(data)), "Attn-Ended": str(whole).lower()}
        return Response(data, media_type="text/plain; charset=utf-8", headers=headers)

    @router.post("/jobs/{job_id}/cancel", status_code=202, responses=MISSING | CONFLICT)
    def cancel(request: Request, job_id: JobId, now: bool = False) -> JobStatus:
        """Cancel a job: its run is closed and can be resumed from its last checkpoint.

        `now` kills it without waiting until the run is closed; this needs the role `admin`.
        """
        if now and request.state.role != "admin":
            raise HTTPException(403, "killing a job needs the role admin; without `now` the role submit is enough")
        return desk.cancel(job_id, now=now)

    @router.post("/jobs/{job_id}/resume", status_code=202, responses=MISSING | CONFLICT)
    def resume(job_id: JobId) -> JobStatus:
        """Queue a failed, cancelled or lost job again; it continues from its last checkpoint."""
        return desk.resume(job_id)

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Metrics for Prometheus."""
        counts = table.counts()
        lines = ["# HELP attn_jobs Jobs by state.", "# TYPE attn_jobs gauge"]
        lines += [f'attn_jobs{{state="{state}"}} {counts[state]}' for state in ("queued", *RUNNING, *sorted(ENDED))]
        lines += ["# HELP attn_slots Jobs that may run at once.", "# TYPE attn_slots gauge"]
        return "\n".join([*lines, f"attn_slots {supervisor.slots}", ""])

    return router


async def _tail(supervisor: Supervisor, job_id: str, path: Path, offset: int) -> AsyncIterator[bytes]:
    changes, ended = -1, False
    while True:
        if supervisor.table.changes != changes:
            changes = supervisor.table.changes
            job = await asyncio.to_thread(supervisor.table.get, job_id)
            ended = job is None or job.state in ENDED
        if not ended and _size(path) <= offset:
            await asyncio.sleep(FOLLOW_SECONDS)
            continue
        data, whole = await asyncio.to_thread(read_log, path, offset, ended=ended)
        offset += len(data)
        if data:
            yield data
        if whole:
            return
        if not data:
            await asyncio.sleep(FOLLOW_SECONDS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the job has not started
        return 0
