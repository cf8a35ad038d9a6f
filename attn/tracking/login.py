"""MLFLOW_TRACKING_URI from the environment. A user and password in it are used, but never saved."""

from __future__ import annotations

__all__ = ["ENVIRONMENT", "environment_uri", "uri_with_login"]

import os
import re
from urllib.parse import unquote

ENVIRONMENT = "MLFLOW_TRACKING_URI"
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


def environment_uri() -> str | None:
    """MLFLOW_TRACKING_URI without user and password; None if it is not set."""
    return _without_login(os.environ.get(ENVIRONMENT, "").strip()) or None


def uri_with_login(uri: str) -> str:
    """The URI to connect to: if it is the environment's, with the user and password from the environment's URI.

    For a server, they are put into the environment variables that MLflow reads, unless these are set; for a database,
    they are in the returned URI.
    """
    full = os.environ.get(ENVIRONMENT, "").strip()
    if uri != _without_login(full) or uri == full:
        return uri
    if not uri.startswith("http"):
        return full
    if {USER, PASSWORD, TOKEN}.isdisjoint(os.environ):
        user, _, password = full[full.index("//") + 2 : full.rindex("@")].partition(":")
        os.environ.update({USER: unquote(user), PASSWORD: unquote(password)})
    return uri


def _without_login(uri: str) -> str:
    if uri.startswith("sqlite:"):
        return uri
    return re.sub(r"^([^/?#]*//)[^?#]*@", r"\1", uri)
