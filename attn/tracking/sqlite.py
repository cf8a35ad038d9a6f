"""Converts between SQLite files and URIs that both SQLAlchemy and MLflow open, for any file name."""

from __future__ import annotations

__all__ = ["names_no_file", "sqlite_file", "sqlite_uri"]

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

SQLITE = "sqlite:///"


def sqlite_uri(file: str | Path) -> str:
    """The URI with which SQLAlchemy and MLflow open an SQLite file."""
    path = os.path.abspath(file)
    # SQLAlchemy decodes the path. MLflow does not, and would create folders with encoded names: so encode slashes, too.
    # Without special characters, keep the path readable.
    return SQLITE + (quote(path, safe="") if "%" in path or "?" in path else path)


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of an SQLite URI; None for other URIs."""
    if not uri.startswith(SQLITE):
        return None
    path = unquote(uri.removeprefix(SQLITE).partition("?")[0])
    return Path(os.path.abspath(os.path.expanduser(path)))


def names_no_file(uri: str) -> bool:
    """Return whether an SQLite URI names a database in memory, which processes cannot share."""
    return re.fullmatch(r"sqlite[^:]*:/*(:memory:)?(\?.*)?", uri) is not None
