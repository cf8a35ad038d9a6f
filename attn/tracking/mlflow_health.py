"""Whether the tracking server answers, lets one in, and speaks our version."""

from __future__ import annotations

__all__ = ["check_tracking"]

import os
from collections.abc import Mapping
from typing import Any

from attn.errors import TrackingError
from attn.health.access import in_clear
from attn.health.finding import Finding
from attn.tracking.address import shown
from attn.tracking.mlflow_client import connect, hurried, reported
from attn.tracking.sqlite import sqlite_file

CHECK = "mlflow"


def check_tracking(uri: str) -> list[Finding]:
    """Look at the server or database; a database that is not there yet is not made."""
    if (file := sqlite_file(uri)) is not None and not file.exists():
        return [Finding(CHECK, "ok", f"{shown(uri)} will be made by the first run")]
    try:
        with hurried(), reported(uri, "looking at it"):
            client = connect(uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    except TrackingError as error:
        return [Finding(CHECK, "fail", str(error), "start it, mend tracking.uri, or set tracking.enabled=false")]
    found = [Finding(CHECK, "ok", f"{shown(uri)} answers, and so does its registry")]
    if uri.startswith("http"):
        found.append(_version(uri))
    if in_clear(uri, os.environ):
        fix = "use https://, or a tunnel: ssh -L 5000:127.0.0.1:5000 HOST"
        found.append(Finding("mlflow log-in", "warn", "the password travels unencrypted", fix))
    return found


def _log_in(environment: Mapping[str, str]) -> dict[str, Any]:
    """What MLflow's own client would show of the environment's log-in."""
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
        return Finding(check, "warn", f"the server does not say: {type(error).__name__}")
    same = theirs.split(".")[:2] == ours.split(".")[:2]
    if same:
        return Finding(check, "ok", f"server {theirs}, client {ours}")
    return Finding(check, "warn", f"server {theirs}, client {ours}", f"run the server with mlflow=={ours}")
