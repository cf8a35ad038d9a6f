"""The tracking server of the environment, and the log-in that its URI may hold: used, and never written down."""

from __future__ import annotations

__all__ = ["ENVIRONMENT", "environment_uri", "show_login"]

import os
import re
from urllib.parse import unquote

ENVIRONMENT = "MLFLOW_TRACKING_URI"
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


def environment_uri() -> str | None:
    """MLFLOW_TRACKING_URI without user and password; None where it is not set."""
    return _bare(os.environ.get(ENVIRONMENT, "").strip()) or None


def show_login(uri: str) -> str:
    """What to connect to for a URI: where it is the environment's, with the user and password that stand in that one.

    A server's go into the variables that MLflow reads them from, unless those are set; a database's are in the URI.
    """
    full = os.environ.get(ENVIRONMENT, "").strip()
    if uri != _bare(full) or uri == full:
        return uri
    if not uri.startswith("http"):
        return full
    if {USER, PASSWORD, TOKEN}.isdisjoint(os.environ):
        user, _, password = full[full.index("//") + 2 : full.rindex("@")].partition(":")
        os.environ.update({USER: unquote(user), PASSWORD: unquote(password)})
    return uri


def _bare(uri: str) -> str:
    if uri.startswith("sqlite:"):
        return uri
    return re.sub(r"^([^/?#]*//)[^?#]*@", r"\1", uri)
