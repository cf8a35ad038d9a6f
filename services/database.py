"""The engine of the service's database; an SQLite file is set up for many readers beside one writer."""

from __future__ import annotations

__all__ = ["open_engine", "writing"]

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

BUSY_MILLISECONDS = 30_000
"""How long SQLite waits for another process that has the file locked, such as a backup."""
WRITES, FILE = "attn_writes", "attn_file"


def open_engine(url: str) -> sa.Engine:
    """An engine; its transactions that write are opened by `writing`.

    Python's `sqlite3` opens a transaction at its first write, and one that has read before may then be refused at once
    because another writes: here SQLite is told at the beginning what a transaction is for. With a write-ahead log
    readers and a writer do not wait for each other.
    """
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 begins nothing by itself
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")  # stays as it was where a file system cannot do it
        record.info[FILE] = _identity(engine)

    @event.listens_for(engine, "checkout")
    def lent(connection: Any, record: Any, proxy: object) -> None:
        # What is written into a file that was removed or replaced is told to everybody, and kept by nobody.
        if record.info[FILE] != _identity(engine):
            raise DisconnectionError("the database's file is another one")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(engine: sa.Engine) -> tuple[int, int] | None:
    """Which file a database's name stands for; None: for none, as of a database in memory or by an URI."""
    with contextlib.suppress(OSError):
        found = os.stat(engine.url.database or "")
        return found.st_dev, found.st_ino
    return None


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: committed at its end, rolled back by an exception."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        yield connection
