"""Maps failures of the service's disk or database to HTTP answers, so that a full disk is not an internal error."""

from __future__ import annotations

__all__ = ["StorageFault", "storage_fault"]

import errno
import sqlite3
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError, OperationalError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
BROKEN = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class StorageFault:
    """The answer to a client, without paths of the service's machine."""

    status: HTTPStatus
    detail: str
    code: str = "storage"


NO_SPACE = StorageFault(
    HTTPStatus.INSUFFICIENT_STORAGE, "the service's disk is full: free some space there, and try again"
)
NO_WRITING = StorageFault(
    HTTPStatus.SERVICE_UNAVAILABLE, "the service may not write to its own disk: make its root writable, and try again"
)
NO_DISK = StorageFault(
    HTTPStatus.SERVICE_UNAVAILABLE, "the service's disk fails, or too many files are open; see the service's log"
)
DAMAGED = StorageFault(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "the service's database is damaged: stop the service, and restore a copy or move the file away; runs are not lost",
)
NO_DATABASE = StorageFault(HTTPStatus.SERVICE_UNAVAILABLE, "the service's database does not answer; try again")


def storage_fault(error: BaseException) -> StorageFault | None:
    """The fault of the service's disk or database that an exception stands for; None if it is another error."""
    if isinstance(error, OSError):
        for numbers, fault in ((FULL, NO_SPACE), (READ_ONLY, NO_WRITING), (BROKEN, NO_DISK)):
            if error.errno in numbers:
                return fault
        return None
    own = error.orig if isinstance(error, DBAPIError) else error  # opening an SQLite connection raises it unwrapped
    name = getattr(own, "sqlite_errorname", "") if isinstance(own, sqlite3.Error) else ""
    if name == "SQLITE_FULL":
        return NO_SPACE
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return NO_WRITING
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DAMAGED
    if name.startswith("SQLITE_IOERR"):
        return NO_DISK
    away = isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    return NO_DATABASE if away or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) else None
