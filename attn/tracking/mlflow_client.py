"""The MLflow client. All its errors become one error that names the server."""

from __future__ import annotations

__all__ = ["exclusive_setup", "connect", "short_timeouts", "mlflow_errors"]

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
from attn.tracking.address import display_uri
from attn.tracking.login import uri_with_login
from attn.tracking.sqlite import sqlite_file
from attn.wording import shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's defaults (7 retries, 120 s each) would delay a run for many minutes when the server is down.
SHORT_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
DEFAULT_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
QUIET_SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def connect(uri: str) -> MlflowClient:
    """A client of one server or database. Sets only environment variables for proxies, timeouts and quiet output."""
    bypass_proxies_for_loopback()
    for name, value in {**DEFAULT_TIMEOUTS, **QUIET_SETTINGS, **checksums()}.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    full = uri_with_login(uri)
    return MlflowClient(tracking_uri=full, registry_uri=full)


@contextlib.contextmanager
def exclusive_setup(uri: str) -> Generator[None]:
    """Inside the `with` block, no other process of this machine sets up the same SQLite file, which would fail."""
    if (file := sqlite_file(uri)) is None:
        yield
        return
    with open(f"{file}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def short_timeouts() -> Generator[None]:
    """Inside the `with` block, requests time out after a few seconds."""
    before = {name: os.environ.get(name, DEFAULT_TIMEOUTS[name]) for name in SHORT_TIMEOUTS}
    os.environ.update(SHORT_TIMEOUTS)
    try:
        yield
    finally:
        os.environ.update(before)  # `connect` inside the block did not change variables that were set


@contextlib.contextmanager
def mlflow_errors(uri: str, doing: str) -> Generator[None]:
    """Turn errors of MLflow, its database or the network into a TrackingError.

    Args:
        doing: What is being done, for the message.
    """
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
            f"tracking at {display_uri(uri)}: {doing} failed: the database driver {error.name} is not installed. "
            "Install it here and on all machines of the cluster, or name an installed driver, as in postgresql+psycopg2://"
        ) from error
    except (json_format.Error, KeyError, TypeError, AttributeError, ValueError) as error:
        # Errors of requests are OSErrors; some are ValueErrors, too.
        if isinstance(error, OSError) or not uri.startswith("http"):
            raise
        raise TrackingError(
            f"tracking at {display_uri(uri)}: {doing} failed: the server's response is invalid "
            f"({type(error).__name__}); check that it is an MLflow server of the client's version"
        ) from error
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        if _refused(error):
            raise TrackingError(
                f"tracking at {display_uri(uri)}: {doing} was refused: the login is missing, wrong, or lacks "
                "permission. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            ) from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = re.sub(r"//[^/@\s]*@", "//", lines[0].replace(uri_with_login(uri), uri)).replace(
            uri, display_uri(uri)
        )
        raise TrackingError(
            f"tracking at {display_uri(uri)}: {doing} failed: {shorten(message, 300)}. Check tracking.uri and that the "
            "server runs, or set tracking.enabled=false"
        ) from error


def _refused(error: Exception) -> bool:
    """Return whether a server refused the login."""
    code = getattr(error, "error_code", "")
    return code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or bool(re.search(r"error code 40[13]\b", str(error)[:400]))
