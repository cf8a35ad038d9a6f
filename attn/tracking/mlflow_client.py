"""The MLflow client, with its failures as one error that names the server."""

from __future__ import annotations

__all__ = ["alone", "connect", "hurried", "reported"]

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Generator
from typing import TYPE_CHECKING

from attn.errors import TrackingError
from attn.files.s3 import checksums
from attn.proxies import bypass_proxies_for_loopback
from attn.tracking.address import shown
from attn.tracking.login import show_login
from attn.tracking.sqlite import sqlite_file
from attn.wording import shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults (7 retries, 120 s each) hold a run up for many minutes when its server is gone.
FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
LATER = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
QUIET = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def connect(uri: str) -> MlflowClient:
    """A client of one server or database; nothing global is set but how servers are reached and how long waited for."""
    bypass_proxies_for_loopback()
    for name, value in {**LATER, **QUIET, **checksums()}.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    full = show_login(uri)
    return MlflowClient(tracking_uri=full, registry_uri=full)


@contextlib.contextmanager
def alone(uri: str) -> Generator[None]:
    """Within, no other process here is in first contact with the same SQLite file: two cannot set it up at once."""
    if (file := sqlite_file(uri)) is None:
        yield
        return
    with open(f"{file}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def hurried() -> Generator[None]:
    """Within, a server that does not answer is given up after a few seconds."""
    before = {name: os.environ.get(name, LATER[name]) for name in FIRST_CONTACT}
    os.environ.update(FIRST_CONTACT)
    try:
        yield
    finally:
        os.environ.update(before)  # a client that was made within found these names set, and left them


@contextlib.contextmanager
def reported(uri: str, doing: str) -> Generator[None]:
    """Within, whatever MLflow, its database or the network raise becomes a TrackingError."""
    import requests
    import sqlalchemy.exc
    from google.protobuf import json_format
    from mlflow.exceptions import MlflowException

    try:
        yield
    except ModuleNotFoundError as error:
        if uri.startswith("http") or sqlite_file(uri) is not None:
            raise
        raise TrackingError(
            f"tracking at {shown(uri)}: {doing} failed: the package {error.name}, by which this database is reached, "
            "is not installed. Install it here and on every machine of the cluster, or name the driver that is there, "
            "as in postgresql+psycopg2://"
        ) from error
    except (json_format.Error, KeyError, TypeError, AttributeError, ValueError) as error:
        # What requests raises is an OSError, and some of it a ValueError as well.
        if isinstance(error, OSError) or not uri.startswith("http"):
            raise
        raise TrackingError(
            f"tracking at {shown(uri)}: {doing} failed: the server's answer could not be understood "
            f"({type(error).__name__}); check that it is an MLflow server, of this client's version"
        ) from error
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        if _refused(error):
            raise TrackingError(
                f"tracking at {shown(uri)}: {doing} was refused: the log-in is missing, wrong, or may not do "
                "this. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            ) from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = re.sub(r"//[^/@\s]*@", "//", lines[0].replace(show_login(uri), uri)).replace(uri, shown(uri))
        raise TrackingError(
            f"tracking at {shown(uri)}: {doing} failed: {shorten(said, 300)}. Check tracking.uri and that the server "
            "runs, or set tracking.enabled=false"
        ) from error


def _refused(error: Exception) -> bool:
    """Whether a server does not know, or does not let in, whoever asks."""
    code = getattr(error, "error_code", "")
    return code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or bool(re.search(r"error code 40[13]\b", str(error)[:400]))
