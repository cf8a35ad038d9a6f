"""Checks that the tracking server answers, accepts the login, and has a compatible version."""

from __future__ import annotations

__all__ = ["check_tracking"]

import os
from collections.abc import Mapping
from typing import Any

from attn.errors import TrackingError
from attn.health.access import sends_password_unencrypted
from attn.health.finding import Finding
from attn.tracking.address import display_uri
from attn.tracking.mlflow_client import connect, mlflow_errors, short_timeouts
from attn.tracking.sqlite import sqlite_file

CHECK = "mlflow"


def check_tracking(uri: str) -> list[Finding]:
    """Check the server or database. A missing database is not created."""
    if (file := sqlite_file(uri)) is not None and not file.exists():
        return [Finding(CHECK, "ok", f"{display_uri(uri)} will be created by the first run")]
    try:
        with short_timeouts(), mlflow_errors(uri, "checking it"):
            client = connect(uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    except TrackingError as error:
        return [Finding(CHECK, "fail", str(error), "start it, correct tracking.uri, or set tracking.enabled=false")]
    results = [Finding(CHECK, "ok", f"{display_uri(uri)} and its registry answer")]
    if uri.startswith("http"):
        results.append(_version(uri))
    if sends_password_unencrypted(uri, os.environ):
        fix = "use https://, or a tunnel: ssh -L 5000:127.0.0.1:5000 HOST"
        results.append(Finding("mlflow log-in", "warn", "the password is sent unencrypted", fix))
    return results


def _log_in(environment: Mapping[str, str]) -> dict[str, Any]:
    """The login from the environment, as MLflow's client would send it."""
    user, password = (environment.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    if user and password:
        return {"auth": (user, password)}
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}


def _version(uri: str) -> Finding:
    import mlflow
    import requests

    check, ours = "mlflow version", mlflow.__version__
    try:
        answer = requests.get(f"{uri.rstrip('/')}/version", timeout=5, **_log_in(os.environ))
        answer.raise_for_status()
        theirs = answer.text.strip()
    except requests.RequestException as error:
        return Finding(check, "warn", f"the server's version is unknown: {type(error).__name__}")
    same = theirs.split(".")[:2] == ours.split(".")[:2]
    if same:
        return Finding(check, "ok", f"server {theirs}, client {ours}")
    return Finding(check, "warn", f"server {theirs}, client {ours}", f"run the server with mlflow=={ours}")
