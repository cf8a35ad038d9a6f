"""The routes of jobs: submit, plan, list, status, log, cancel, resume; and metrics for Prometheus."""

from __future__ import annotations

__all__ = ["job_routes"]

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, StreamingResponse

from attn.errors import ConfigError, Fault
from jobs.runs.run_folder import RunFolder, is_run_id
from services.calls import LISTED_BY_API
from services.log import read_log
from services.models import JobList, JobStatus, Problem
from services.planning import AT_ONCE, BusyError, Planner
from services.status import status_of
from services.submission import JOB_ID, Submission
from services.supervisor import Supervisor
from services.table import ENDED, RUNNING, Job

FOLLOW_SECONDS = 1.0
PAGE_LIMIT = 500
TURN_SECONDS = 60.0
"""Seconds that a submission waits for its turn to be checked."""

T = TypeVar("T")
JobId = Annotated[str, PathParameter(examples=["gain-1"])]
Offset = Annotated[int, Query(ge=0, lt=2**63)]
SAME: dict[int | str, dict[str, Any]] = {200: {"model": JobStatus, "description": "the same job as before"}}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "no such job"}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "not in this state"}}


def job_routes(root: str, supervisor: Supervisor) -> APIRouter:
    """Create the routes for the jobs of a supervisor."""
    table, router, planner = supervisor.table, APIRouter(), Planner(root, supervisor.state_dir.data_roots)
    turns = CapacityLimiter(AT_ONCE)

    def result(job_id: str) -> Job:
        supervisor.require_state_dir()
        job = table.get(job_id) if is_run_id(job_id) else None
        if job is None:
            raise HTTPException(404, f"no job {job_id!r}; {LISTED_BY_API}")
        return job

    def status_now(job: Job) -> JobStatus:
        return status_of(job, root, supervisor.waiting(job))

    async def in_turn(check: Callable[[Submission], T], submission: Submission) -> T:
        """Check or plan a submission once it is its turn; submissions that wait occupy no thread."""
        turn = object()
        try:
            with fail_after(TURN_SECONDS):
                await turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            raise BusyError("the service is checking other submissions; try again in a minute") from None
        try:
            return await to_thread.run_sync(check, submission)
        finally:
            turns.release_on_behalf_of(turn)

    def add(submission: Submission, cores: int | None) -> JobStatus | None:
        """Add a checked submission as a job; None if there is a job of its id already."""
        if RunFolder(root, submission.id).exists():
            raise HTTPException(
                409, f"run {submission.id!r} exists already, without a job in this service's table; choose another id"
            )
        fields = submission.model_dump(exclude={"id"})
        now = table.behind_all(time.time())
        new = Job(id=submission.id, request=submission.request, submitted=now, cores=cores, **fields)
        return status_now(new) if table.add(new) else None

    def existing(submission: Submission) -> JobStatus | None:
        """The job that was made from the same submission before; None if its id is new."""
        supervisor.require_state_dir()
        job = table.get(submission.id)
        if job is None:
            table.require_room()  # before the submission is checked, which is expensive
            return None
        if job.request != submission.request:
            raise HTTPException(409, f"job {job.id!r} exists already, with another request; choose another id")
        return status_now(job)

    @router.post("/jobs", status_code=201, responses=SAME | CONFLICT)
    async def submit(submission: Submission, response: Response) -> JobStatus:
        """Submit a job. The same submission again returns the same job with status 200."""
        job = await run_in_threadpool(existing, submission)
        if job is None:
            cores = await in_turn(planner.check, submission)
            if (added := await run_in_threadpool(add, submission, cores)) is not None:
                return added
            job = await run_in_threadpool(existing, submission)  # another client was faster
        assert job is not None, "a job that was just added is still in the table"
        response.status_code = 200
        return job

    @router.post("/plan")
    async def plan(submission: Submission) -> dict[str, Any]:
        """Describe what a submission would run, without starting it."""
        result = await in_turn(planner.plan, submission)
        counts = await run_in_threadpool(table.counts)
        return result | {"waiting_before_it": sum(counts[state] for state in ("queued", *RUNNING))}

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
        return status_now(result(job_id))

    @router.get("/jobs/{job_id}/log", responses=MISSING, response_class=PlainTextResponse)
    def log(job_id: JobId, offset: Offset = 0, follow: bool = False) -> Response:
        """The log from a byte offset on; `Attn-Next-Offset` is the next offset. `follow` streams until the job ends."""
        job = result(job_id)
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
        job = result(job_id)
        if job.state in ENDED and job.state != "cancelled":
            raise HTTPException(409, f"job {job_id!r} has ended: {job.state}")
        supervisor.cancel(job, now=now)
        return status_now(result(job_id))

    @router.post("/jobs/{job_id}/resume", status_code=202, responses=MISSING | CONFLICT)
    def resume(job_id: JobId) -> JobStatus:
        """Queue a failed, cancelled or lost job again; it continues from its last checkpoint."""
        job = result(job_id)
        values: dict[str, Any] = {
            "state": "queued", "error": None, "cancel": None, "cancelled_at": None, "ended": None, "restarts": None,
        }  # fmt: skip
        resumable = ["failed", "cancelled", "lost"]
        if job.state in RUNNING and job.cancel is not None:
            waits = f"`attn status {job_id} --wait` waits for that"
            raise HTTPException(409, f"job {job_id!r} is being cancelled: resume it once it has ended; {waits}")
        if not table.change(job_id, resumable, **values) and job.state not in ("queued", *RUNNING):
            raise HTTPException(409, f"job {job_id!r} is {job.state}: there is nothing to resume")
        return status_now(result(job_id))

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
