"""What the service knows of its jobs: one table in any database that SQLAlchemy speaks to."""

from __future__ import annotations

__all__ = ["ENDED", "RUNNING", "Job", "JobTable"]

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from attn.errors import RunError

RUNNING = ("running", "unreachable")
"""States of a job that has a slot."""
ENDED = frozenset({"done", "failed", "cancelled", "lost"})


@dataclass(frozen=True)
class Job:
    """A job as the table has it; times in seconds since 1970.

    Attributes:
        target: A recipe's name, or the model or store of a kind that reads one.
        config: The YAML text of a file that was sent in place of a recipe's name.
        state: `queued`, `running`, `unreachable`: it ran when its cluster was last heard of; `done`, `failed`,
            `cancelled`, or `lost`: it is gone and left no word.
        cancel: `seal` or `now` once somebody, or `max_duration`, asked for its end.
        place: URL of the job server that it was handed to; None: it runs beside the service.
        pid: Of its process beside the service.
        process: What tells that process from a later one of the same number; None where an earlier version started it.
        started_clock: `started` by the clock of the service's machine, which nobody sets.
        born: Of a Ray Job, when its cluster took it, by that cluster's clock.
        request: Hash of what was asked for: the same id with another request is a conflict.
    """

    id: str
    kind: str
    target: str
    request: str
    config: str | None = None
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
    place: str | None = None
    pid: int | None = None
    born: float | None = None
    process: str | None = None
    started_clock: str | None = None


def _columns(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "attn_jobs",
        metadata,
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("config", sa.Text),
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
        sa.Column("place", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("born", sa.Float(53)),
        sa.Column("process", sa.String(100)),
        sa.Column("started_clock", sa.String(100)),
    )


class JobTable:
    """Jobs by id. A change names the states that it may be made in, so that two who change at once cannot both win.

    Attributes:
        changes: How many this process has made: where it is the same, nothing is another.
    """

    def __init__(self, url: str) -> None:
        """Open the database and make the table where it is not there.

        Raises:
            RunError: The database cannot be opened; its URL is not told, which may hold a password.
        """
        self.changes, self._counting = 0, threading.Lock()
        try:
            self.engine = sa.create_engine(url, pool_pre_ping=True)
            metadata = sa.MetaData()
            self.table = _columns(metadata)
            metadata.create_all(self.engine)
            self._add_columns()
        except (SQLAlchemyError, ImportError) as error:
            raise RunError(
                f"the service's database cannot be opened ({type(error).__name__}): check --database"
            ) from None

    def _add_columns(self) -> None:
        """Give a table that an earlier version made the columns that have come since, which are all optional."""
        there = {column["name"] for column in sa.inspect(self.engine).get_columns(self.table.name)}
        with self.engine.begin() as connection:
            for column in self.table.columns:
                if column.name not in there:
                    kind = column.type.compile(self.engine.dialect)
                    connection.execute(sa.DDL(f"ALTER TABLE {self.table.name} ADD COLUMN {column.name} {kind}"))

    def add(self, job: Job) -> bool:
        """Take a job in; False where its id is taken."""
        try:
            with self.engine.begin() as connection:
                connection.execute(self.table.insert().values(**asdict(job)))
        except IntegrityError:
            return False
        self._changed()
        return True

    def get(self, job_id: str) -> Job | None:
        with self.engine.connect() as connection:
            row = connection.execute(self.table.select().where(self.table.c.id == job_id)).mappings().first()
        return None if row is None else _job(row)

    def list(self, states: Sequence[str] | None = None) -> list[Job]:
        """Jobs, newest first."""
        query = self.table.select().order_by(self.table.c.submitted.desc())
        if states is not None:
            query = query.where(self.table.c.state.in_(states))
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def queue(self) -> Sequence[Job]:
        """Those that wait, in the order in which they will start."""
        return sorted(self.list(["queued"]), key=lambda job: (-job.priority, job.submitted))

    def change(self, job_id: str, states: Sequence[str], **values: Any) -> bool:
        """Change a job that is in one of these states; False where it is in none of them."""
        table = self.table
        with self.engine.begin() as connection:
            result = connection.execute(
                table.update().where(table.c.id == job_id, table.c.state.in_(states)).values(**values)
            )
        self._changed()
        return result.rowcount == 1

    def end(self, job: Job, state: str, error: str | None = None) -> None:
        self.change(job.id, ["queued", *RUNNING], state=state, error=error, ended=time.time())

    def _changed(self) -> None:
        with self._counting:
            self.changes += 1

    def close(self) -> None:
        self.engine.dispose()


def _job(row: Any) -> Job:
    return Job(**{field.name: row[field.name] for field in fields(Job)})
