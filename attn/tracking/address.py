"""The tracking URI of a run, and its form for messages."""

from __future__ import annotations

__all__ = ["artifact_folder", "registry_uri", "display_uri", "tracking_uri"]

import re
from pathlib import Path

from attn.config.base import is_remote
from attn.errors import TrackingError
from attn.tracking.config import TrackingConfig, fault_of_uri
from attn.tracking.login import ENVIRONMENT, environment_uri
from attn.tracking.sqlite import sqlite_file, sqlite_uri

DATABASE = "mlflow.db"


def tracking_uri(config: TrackingConfig, root: str) -> str:
    """The config's URI or, if it has none, that of an SQLite file below the root.

    Raises:
        TrackingError: The root is an object store, which cannot contain a database.
    """
    if config.uri is not None:
        return config.uri
    if is_remote(root):
        raise TrackingError(
            f"root is {root}, but a tracking database cannot be in an object store: set tracking.uri=http://... of an "
            "MLflow server, tracking.uri=sqlite:////a/local/file.db, or tracking.enabled=false"
        )
    return sqlite_uri(Path(root, DATABASE))


def registry_uri(config: TrackingConfig, root: str) -> str:
    """The URI of the model registry: like `tracking_uri`, but an invalid URI in the environment is an error.

    Raises:
        TrackingError: As `tracking_uri`; or the environment's URI is invalid.
    """
    given = environment_uri()
    if config.uri is None and given is not None and (fault := fault_of_uri(given)):
        shown = re.split(r"[?#]", given.rpartition("@")[2])[0]
        raise TrackingError(
            f"no registry: the environment variable {ENVIRONMENT} ({shown}) {fault}. Change or unset it, or set "
            "tracking.uri"
        )
    return tracking_uri(config, root)


def artifact_folder(uri: str) -> Path | None:
    """The artifact folder for an SQLite file, beside it; None for a server, which has its own."""
    database = sqlite_file(uri)
    return database and database.parent / f"{database.stem}-artifacts"


def display_uri(uri: str) -> str:
    """The URI without user, password and query, for messages and logs."""
    if sqlite_file(uri) is not None:
        return uri.partition("?")[0]
    return re.sub(r"//[^/@]*@", "//", uri.partition("?")[0])
