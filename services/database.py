"""The SQLAlchemy engine of the service's database; SQLite files are set up for many readers beside one writer."""

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
"""Time that SQLite waits while another process, such as a backup, locks the file."""
WRITES, FILE = "attn_writes", "attn_file"


def open_engine(url: str) -> sa.Engine:
    """Create an engine; open its write transactions with `writing`.

    Python's `sqlite3` begins a transaction at its first write. If the transaction has read before and another one is
    writing, SQLite refuses it at once. So write transactions begin with `BEGIN IMMEDIATE` here, which waits. With
    write-ahead logging, readers and a writer do not wait for each other.
    """
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 then begins no transactions by itself
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")  # has no effect where the file system does not support it
        record.info[FILE] = _identity(engine)

    @event.listens_for(engine, "checkout")
    def lent(connection: Any, record: Any, proxy: object) -> None:
        # Rows written to a removed or replaced file would still be read through this connection, then be lost.
        if record.info[FILE] != _identity(engine):
            raise DisconnectionError("the database file was replaced")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(engine: sa.Engine) -> tuple[int, int] | None:
    """Device and inode of the database file; None if there is none: a database in memory, or named by a URI."""
    with contextlib.suppress(OSError):
        result = os.stat(engine.url.database or "")
        return result.st_dev, result.st_ino
    return None


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: committed at its end, rolled back by an exception."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        yield connection
