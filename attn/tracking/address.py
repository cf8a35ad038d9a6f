"""The tracking URI of a run, and how it may be shown."""

from __future__ import annotations

__all__ = ["artifact_folder", "registry_uri", "shown", "tracking_uri"]

import re
from pathlib import Path

from attn.config.base import is_remote
from attn.errors import TrackingError
from attn.tracking.config import TrackingConfig, fault_of_uri
from attn.tracking.login import ENVIRONMENT, environment_uri
from attn.tracking.sqlite import sqlite_file, sqlite_uri

DATABASE = "mlflow.db"


def tracking_uri(config: TrackingConfig, root: str) -> str:
    """The URI of the config or, where it has none, of an SQLite file under the root.

    Raises:
        TrackingError: The root is an object store, where no database can lie.
    """
    if config.uri is not None:
        return config.uri
    if is_remote(root):
        raise TrackingError(
            f"root is {root}, and a tracking database cannot lie in an object store: give tracking.uri=http://... of "
            "an MLflow server, tracking.uri=sqlite:////a/local/file.db, or tracking.enabled=false"
        )
    return sqlite_uri(Path(root, DATABASE))


def registry_uri(config: TrackingConfig, root: str) -> str:
    """Where registered models are looked up: as `tracking_uri`, but an address of the environment is never passed over.

    Raises:
        TrackingError: As `tracking_uri`; or the environment's address is faulty.
    """
    given = environment_uri()
    if config.uri is None and given is not None and (fault := fault_of_uri(given)):
        place = re.split(r"[?#]", given.rpartition("@")[2])[0]
        raise TrackingError(
            f"no registry: {ENVIRONMENT} of the environment ({place}) {fault}. Change or unset it, or give tracking.uri"
        )
    return tracking_uri(config, root)


def artifact_folder(uri: str) -> Path | None:
    """Where artifacts belong that go with an SQLite file: beside it. None for a server, which decides itself."""
    database = sqlite_file(uri)
    return database and database.parent / f"{database.stem}-artifacts"


def shown(uri: str) -> str:
    """The URI without user, password and query, fit for messages and logs."""
    if sqlite_file(uri) is not None:
        return uri.partition("?")[0]
    return re.sub(r"//[^/@]*@", "//", uri.partition("?")[0])
