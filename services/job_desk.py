"""What clients do with jobs: submit, plan, look up, cancel and resume them, by the API or the pages."""

from __future__ import annotations

__all__ = ["JobDesk"]

import time
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread
from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool

from jobs.runs.run_folder import RunFolder, is_run_id
from services.calls import LISTED_BY_API
from services.models import JobStatus
from services.planning import AT_ONCE, BusyError, Planner
from services.status import status_of
from services.submission import Submission
from services.supervisor import Supervisor
from services.table import ENDED, RUNNING, Job

TURN_SECONDS = 60.0
"""Seconds that a submission waits for its turn to be checked."""

T = TypeVar("T")


class JobDesk:
    """The jobs of one service; submissions are checked a few at a time, whoever sends them."""

    def __init__(self, root: str, supervisor: Supervisor) -> None:
        self.root, self.supervisor, self.table = root, supervisor, supervisor.table
        self._planner = Planner(root, supervisor.state_dir.data_roots)
        self._turns = CapacityLimiter(AT_ONCE)

    def job(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            HTTPException: There is none: 404.
        """
        self.supervisor.require_state_dir()
        job = self.table.get(job_id) if is_run_id(job_id) else None
        if job is None:
            raise HTTPException(404, f"no job {job_id!r}; {LISTED_BY_API}")
        return job

    def status(self, job: Job) -> JobStatus:
        """A job's status now."""
        return status_of(job, self.root, self.supervisor.waiting(job))

    async def submit(self, submission: Submission) -> tuple[JobStatus, bool]:
        """Add a job, and return whether it is new: the same submission again is the same job.

        Raises:
            HTTPException: There is a job or run of this id that is not of this submission: 409.
            AttnError: It cannot become a job, or not now.
        """
        job = await run_in_threadpool(self._existing, submission)
        if job is None:
            cores = await self._in_turn(self._planner.check, submission)
            if (added := await run_in_threadpool(self._add, submission, cores)) is not None:
                return added, True
            job = await run_in_threadpool(self._existing, submission)  # another client was faster
        assert job is not None, "a job that was just added is still in the table"
        return job, False

    async def plan(self, submission: Submission) -> dict[str, Any]:
        """Describe what a submission would run, without starting it."""
        result = await self._in_turn(self._planner.plan, submission)
        counts = await run_in_threadpool(self.table.counts)
        return result | {"waiting_before_it": sum(counts[state] for state in ("queued", *RUNNING))}

    def cancel(self, job_id: str, *, now: bool) -> JobStatus:
        """Cancel a job: its run is closed and can be resumed; `now` kills it.

        Raises:
            HTTPException: There is no such job, or it has ended otherwise: 404, 409.
        """
        job = self.job(job_id)
        if job.state in ENDED and job.state != "cancelled":
            raise HTTPException(409, f"job {job_id!r} has ended: {job.state}")
        self.supervisor.cancel(job, now=now)
        return self.status(self.job(job_id))

    def resume(self, job_id: str) -> JobStatus:
        """Queue a failed, cancelled or lost job again.

        Raises:
            HTTPException: There is no such job, or nothing to resume: 404, 409.
        """
        job = self.job(job_id)
        values: dict[str, Any] = {
            "state": "queued", "error": None, "cancel": None, "cancelled_at": None, "ended": None, "restarts": None,
        }  # fmt: skip
        resumable = ["failed", "cancelled", "lost"]
        if job.state in RUNNING and job.cancel is not None:
            waits = f"`attn status {job_id} --wait` waits for that"
            raise HTTPException(409, f"job {job_id!r} is being cancelled: resume it once it has ended; {waits}")
        if not self.table.change(job_id, resumable, **values) and job.state not in ("queued", *RUNNING):
            raise HTTPException(409, f"job {job_id!r} is {job.state}: there is nothing to resume")
        return self.status(self.job(job_id))

    async def _in_turn(self, check: Callable[[Submission], T], submission: Submission) -> T:
        """Check or plan a submission once it is its turn; submissions that wait occupy no thread."""
        turn = object()
        try:
            with fail_after(TURN_SECONDS):
                await self._turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            raise BusyError("the service is checking other submissions; try again in a minute") from None
        try:
            return await to_thread.run_sync(check, submission)
        finally:
            self._turns.release_on_behalf_of(turn)

    def _add(self, submission: Submission, cores: int | None) -> JobStatus | None:
        """Add a checked submission as a job; None if there is a job of its id already."""
        if RunFolder(self.root, submission.id).exists():
            raise HTTPException(
                409, f"run {submission.id!r} exists already, without a job in this service's table; choose another id"
            )
        fields = submission.model_dump(exclude={"id"})
        now = self.table.behind_all(time.time())
        new = Job(id=submission.id, request=submission.request, submitted=now, cores=cores, **fields)
        return self.status(new) if self.table.add(new) else None

    def _existing(self, submission: Submission) -> JobStatus | None:
        """The job that was made from the same submission before; None if its id is new."""
        self.supervisor.require_state_dir()
        job = self.table.get(submission.id)
        if job is None:
            self.table.require_room()  # before the submission is checked, which is expensive
            return None
        if job.request != submission.request:
            raise HTTPException(409, f"job {job.id!r} exists already, with another request; choose another id")
        return self.status(job)
