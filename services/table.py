"""The job table, in any database that SQLAlchemy supports."""

from __future__ import annotations

__all__ = ["ENDED", "RUNNING", "Job", "JobTable", "QueueFullError", "TableBusyError"]

import contextlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from attn.errors import AttnError, RunError
from services.database import open_engine, writing
from services.storage_faults import storage_fault

RUNNING = ("running", "unreachable")
"""States of a job that occupies a slot."""
ENDED = frozenset({"done", "failed", "cancelled", "lost"})
FORGOTTEN_AT_ONCE = 500
BEHIND_SECONDS = 0.001
FIELDS = {"place": "job_server", "born": "create_time"}
"""Job's field by the column's name, where they differ: databases keep the names of an earlier version."""
TURN_SECONDS = 10.0
"""Seconds that a write waits for other writes of this process. Waiting writes occupy threads that readers need."""


class QueueFullError(AttnError):
    """The queue has as many jobs as the service permits."""

    code = "queue_full"


class TableBusyError(AttnError):
    """A write did not get its turn within TURN_SECONDS, as another one is blocked."""

    code = "database"


@dataclass(frozen=True)
class Job:
    """A row of the job table; times in seconds since 1970.

    Attributes:
        target: A recipe's name, or the model or store of a kind that reads one.
        config: The YAML text that was sent instead of a recipe's name.
        files: The texts that were sent for names in it.
        state: `queued`, `running`, `done`, `failed`, `cancelled`; `unreachable`: it ran when its cluster last
            answered; `lost`: its process is gone without a report.
        cancel: How its end was requested: `seal` closes its run, `now` kills it, `late` means `max_duration` has
            passed; None: not requested.
        job_server: URL of the Ray job server that runs it; None: it runs as a process beside the service.
        pid: Process id of its driver beside the service.
        process: Identity of that process, as process ids are reused; None if an earlier version started it.
        started_clock: `started` by the boot clock of the service's machine, which cannot be set.
        create_time: When Ray's job server accepted it, by that cluster's clock; None beside the service.
        request: Hash of the submission. The same id with another request is a conflict.
        restarts: How often the service has started it again after its driver was lost, since it was submitted or
            resumed.
        cores: Cores of the service's machine that it needs there; None: all of them.
    """

    id: str
    kind: str
    target: str
    request: str
    config: str | None = None
    files: dict[str, str] | None = None
    overrides: list[str] | None = None
    address: str | None = None
    priority: int = 0
    max_duration: float | None = None
    state: str = "queued"
    error: str | None = None
    cancel: str | None = None
    cancelled_at: float | None = None
    submitted: float = 0.0
    started: float | None = None
    ended: float | None = None
    attempt: int = 0
    job_server: str | None = None
    pid: int | None = None
    create_time: float | None = None
    process: str | None = None
    started_clock: str | None = None
    cores: int | None = None
    restarts: int | None = None


def _columns(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "attn_jobs",
        metadata,
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("config", sa.Text),
        sa.Column("files", sa.JSON),
        sa.Column("overrides", sa.JSON),
        sa.Column("address", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_duration", sa.Float(53)),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("error", sa.Text),
        sa.Column("cancel", sa.String(10)),
        sa.Column("cancelled_at", sa.Float(53)),
        sa.Column("submitted", sa.Float(53), nullable=False),
        sa.Column("started", sa.Float(53)),
        sa.Column("ended", sa.Float(53)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("place", sa.Text, key="job_server"),
        sa.Column("pid", sa.Integer),
        sa.Column("born", sa.Float(53), key="create_time"),
        sa.Column("process", sa.String(100)),
        sa.Column("started_clock", sa.String(100)),
        sa.Column("cores", sa.Integer),
        sa.Column("restarts", sa.Integer),
        sa.Index("attn_jobs_newest", "submitted", "id"),
    )


def _job(row: Mapping[str, Any] | sa.RowMapping) -> Job:
    return Job(**{FIELDS.get(str(column), str(column)): value for column, value in row.items()})


class JobTable:
    """Jobs by id. A change names the states in which it is permitted, so two concurrent changes cannot both succeed.

    Attributes:
        changes: Number of this process's writes so far; unchanged means the table is unchanged.
        max_queued: Largest number of queued jobs; None: no limit.
    """

    def __init__(self, url: str, *, max_queued: int | None = None) -> None:
        """Open the database, and create the table if it does not exist.

        Raises:
            RunError: The database cannot be opened. The message does not show its URL, which may contain a password.
        """
        self.changes, self.max_queued = 0, max_queued
        # Threads of this process take turns: SQLite's own lock is not fair, and some of many writers would starve.
        self._turn = threading.Lock()
        try:
            self.engine = open_engine(url)
            metadata = sa.MetaData()
            self.table = _columns(metadata)
            metadata.create_all(self.engine)
            self._add_columns()
        except ModuleNotFoundError as error:
            raise RunError(
                f"the service's database needs the Python package {error.name}, which is not installed: install it, or "
                "name an installed driver in --database, as in postgresql+psycopg2://"
            ) from None
        except (SQLAlchemyError, sqlite3.Error, ImportError, ValueError) as error:
            if fault := storage_fault(error):
                raise RunError(f"the service's database cannot be opened: {fault.detail}; or give --database") from None
            raise RunError(
                f"the service's database cannot be opened ({type(error).__name__}): check --database"
            ) from None

    def _add_columns(self) -> None:
        """Add to a table of an earlier version the columns (all optional) and indexes that are new.

        Raises:
            RunError: The table lacks columns that every version has.
        """
        there = {column["name"] for column in sa.inspect(self.engine).get_columns(self.table.name)}
        if lacking := [
            column.name for column in self.table.columns if not column.nullable and column.name not in there
        ]:
            raise RunError(
                f"the table {self.table.name} of the database is not the service's: it lacks the columns "
                f"{', '.join(lacking)}; give another --database, or rename that table"
            )
        with writing(self.engine) as connection:
            for column in self.table.columns:
                if column.name not in there:
                    kind = column.type.compile(self.engine.dialect)
                    connection.execute(sa.DDL(f"ALTER TABLE {self.table.name} ADD COLUMN {column.name} {kind}"))
            for index in self.table.indexes:
                index.create(connection, checkfirst=True)

    def add(self, job: Job) -> bool:
        """Add a job; False if its id exists.

        Raises:
            QueueFullError: The job would wait, and the queue is full.
        """
        try:
            with self._writing() as connection:
                connection.execute(self.table.insert().values(**asdict(job)))
                if job.state == "queued":
                    self._require_room(connection)
        except IntegrityError:
            return False
        return True

    def get(self, job_id: str) -> Job | None:
        with self.engine.connect() as connection:
            row = connection.execute(self.table.select().where(self.table.c.id == job_id)).mappings().first()
        return None if row is None else _job(row)

    def list(self, states: Sequence[str]) -> list[Job]:
        """All jobs in some states, newest first."""
        query = self.table.select().where(self.table.c.state.in_(states)).order_by(*self._newest)
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def page(self, limit: int, after: Job | None = None) -> list[tuple[Job, int | None]]:
        """Jobs, newest first, without their configs, files and overrides.

        Args:
            after: The last job of the previous page.

        Returns:
            Each job, and for a queued one, how many start before it.
        """
        table = self.table
        number = sa.func.row_number().over(order_by=self._next)
        queue = sa.select(table.c.id, (number - 1).label("ahead")).where(table.c.state == "queued").subquery()
        light = [column for column in table.columns if column.name not in ("config", "files", "overrides")]
        query = sa.select(*light, queue.c.ahead).outerjoin(queue, queue.c.id == table.c.id).order_by(*self._newest)
        if after is not None:
            same = sa.and_(table.c.submitted == after.submitted, table.c.id < after.id)
            query = query.where(sa.or_(table.c.submitted < after.submitted, same))
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query.limit(limit)).mappings()]
        aheads = [row.pop("ahead") for row in rows]
        return [(_job(row), ahead) for row, ahead in zip(rows, aheads, strict=True)]

    def queue(self, limit: int) -> list[Job]:
        """The first queued jobs, in the order in which they will start."""
        query = self.table.select().where(self.table.c.state == "queued").order_by(*self._next).limit(limit)
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def behind_all(self, now: float) -> float:
        """A time of submission after those of all queued jobs: now, or later if the clock was set back."""
        query = sa.select(sa.func.max(self.table.c.submitted)).where(self.table.c.state == "queued")
        with self.engine.connect() as connection:
            last = connection.execute(query).scalar_one()
        return now if last is None else max(now, last + BEHIND_SECONDS)

    def ahead(self, job: Job) -> int:
        """Number of queued jobs that will start before this one."""
        table = self.table
        earlier = sa.or_(
            table.c.submitted < job.submitted, sa.and_(table.c.submitted == job.submitted, table.c.id < job.id)
        )
        before = sa.or_(table.c.priority > job.priority, sa.and_(table.c.priority == job.priority, earlier))
        query = sa.select(sa.func.count()).select_from(table).where(table.c.state == "queued", before)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def ids(self, states: Sequence[str]) -> list[str]:
        """Ids of all jobs in some states, newest first."""
        query = sa.select(self.table.c.id).where(self.table.c.state.in_(states)).order_by(*self._newest)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def counts(self) -> Counter[str]:
        """Number of jobs in each state."""
        query = sa.select(self.table.c.state, sa.func.count().label("jobs")).group_by(self.table.c.state)
        with self.engine.connect() as connection:
            return Counter({row.state: row.jobs for row in connection.execute(query)})

    def change(self, job_id: str, states: Sequence[str], **values: Any) -> bool:
        """Change a job that is in one of these states; False if it is in another.

        Raises:
            QueueFullError: The job would wait, and the queue is full.
        """
        table = self.table
        with self._writing() as connection:
            result = connection.execute(
                table.update().where(table.c.id == job_id, table.c.state.in_(states)).values(**values)
            )
            if values.get("state") == "queued" and result.rowcount == 1:
                self._require_room(connection)
        return result.rowcount == 1

    def forget(self, keep: int) -> list[Job]:
        """Remove ended jobs except the `keep` newest, some at a time; returns the removed jobs."""
        table, ended = self.table, self.table.c.state.in_(ENDED)
        newest = table.c.ended.desc().nulls_last(), table.c.id.desc()
        old = table.select().where(ended).order_by(*newest).limit(FORGOTTEN_AT_ONCE).offset(keep)
        with self.engine.connect() as connection:
            jobs = [_job(row) for row in connection.execute(old).mappings()]
        if not jobs:
            return []
        with self._writing() as connection:  # a job may have been resumed meanwhile
            gone = [job for job in jobs
                    if connection.execute(table.delete().where(table.c.id == job.id, ended)).rowcount == 1]  # fmt: skip
        return gone

    def end(self, job: Job, state: str, error: str | None = None) -> None:
        self.change(job.id, ["queued", *RUNNING], state=state, error=error, ended=time.time())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise TableBusyError("the service's database does not answer: another program may lock it; try again")
        try:
            with writing(self.engine) as connection:
                yield connection
            self.changes += 1
        finally:
            self._turn.release()

    def require_room(self) -> None:
        """Raise QueueFullError if the queue is full."""
        with self.engine.connect() as connection:
            self._require_room(connection, 1)

    def _require_room(self, connection: sa.Connection, more: int = 0) -> None:
        """Raise QueueFullError if there are too many queued jobs; this rolls the transaction back."""
        query = sa.select(sa.func.count()).select_from(self.table).where(self.table.c.state == "queued")
        if self.max_queued is not None and connection.execute(query).scalar_one() + more > self.max_queued:
            raise QueueFullError(
                f"the queue is full: {self.max_queued} jobs wait, which is the limit (`attn serve --max-queued`); try "
                "again when some have started, or cancel some"
            )

    @property
    def _newest(self) -> tuple[sa.ColumnElement[Any], ...]:
        return self.table.c.submitted.desc(), self.table.c.id.desc()

    @property
    def _next(self) -> tuple[sa.ColumnElement[Any], ...]:
        return self.table.c.priority.desc(), self.table.c.submitted, self.table.c.id

    def close(self) -> None:
        self.engine.dispose()
