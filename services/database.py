"""The engine of the service's database; an SQLite file is set up for many readers beside one writer."""

from __future__ import annotations

__all__ = ["open_engine", "writing"]

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_MILLISECONDS = 30_000
"""How long SQLite waits for another process that has the file locked, such as a backup."""
WRITES = "attn_writes"


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
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # sqlite3 begins nothing by itself
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")  # stays as it was where a file system cannot do it

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: committed at its end, rolled back by an exception."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        yield connection
