"""SQLite files as URIs that SQLAlchemy and MLflow open, whatever the files are called."""

from __future__ import annotations

__all__ = ["names_no_file", "sqlite_file", "sqlite_uri"]

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

SQLITE = "sqlite:///"


def sqlite_uri(file: str | Path) -> str:
    """The URI of an SQLite file, by which SQLAlchemy and MLflow open this very file, whatever its name."""
    path = os.path.abspath(file)
    # SQLAlchemy decodes the path. MLflow does not, and makes the folders that it reads in the URI: with the slashes
    # encoded too, it finds none to make. Where nothing must be encoded, people get to read a plain path.
    return SQLITE + (quote(path, safe="") if "%" in path or "?" in path else path)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI, absolute; None for a server."""
    if not uri.startswith(SQLITE):
        return None
    path = unquote(uri.removeprefix(SQLITE).partition("?")[0])
    return Path(os.path.abspath(os.path.expanduser(path)))


def names_no_file(uri: str) -> bool:
    """Whether an SQLite URI means a database in memory, which each process would have for itself."""
    return re.fullmatch(r"sqlite[^:]*:/*(:memory:)?(\?.*)?", uri) is not None
