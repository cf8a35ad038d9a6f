"""Checks of access to this machine: Ray's token, and servers that other machines can reach."""

from __future__ import annotations

__all__ = ["check_listeners", "check_token", "sends_password_unencrypted"]

import os
import stat
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from attn.health.finding import Finding
from attn.proxies import is_loopback

SERVERS = {"attn serve": "attn serve", "mlflow": "mlflow server", "ray::DashboardHead": "Ray's dashboard"}
"""By a part of a process's command line, the name of the server."""


def check_token(environment: Mapping[str, str], *, joins: bool, home: Path | None = None) -> list[Finding]:
    """Check that there is a token for the cluster, and that only its owner can read it.

    Args:
        joins: Whether a cluster is joined. If not, runs create their own token.
    """
    mode = environment.get("RAY_AUTH_MODE")
    if not joins:
        if mode == "disabled":
            return [Finding("ray token", "warn", "RAY_AUTH_MODE=disabled: other users of this machine can run code in "
                            "your session", "unset RAY_AUTH_MODE; a run then creates its own token")]  # fmt: skip
        return [Finding("ray token", "ok", "each run on this machine creates its own")]
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path(home or os.path.expanduser("~"), ".ray", "auth_token"))
    results: list[Finding] = []
    if mode != "token":
        fix = "export RAY_AUTH_MODE=token here and on every node, with one token (ray get-auth-token --generate)"
        text = f"RAY_AUTH_MODE is {mode or 'not set'}: no token is sent to the cluster"
        results.append(Finding("ray token", "warn", text, fix))
    elif "RAY_AUTH_TOKEN" not in environment and not file.is_file():
        fix = "copy the cluster's token there, or set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
        results.append(Finding("ray token", "fail", f"RAY_AUTH_MODE=token, but there is no {file}", fix))
    else:
        results.append(Finding("ray token", "ok", "RAY_AUTH_MODE=token, and there is one"))
    if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        results.append(Finding("ray token file", "warn", f"{file} can be read by other users", f"chmod 600 {file}"))
    return results


def check_listeners() -> Finding:
    """Check that none of attn's servers on this machine listens on more than the loopback address."""
    import psutil

    exposed: list[str] = []
    for process in psutil.process_iter():
        try:
            command_line = " ".join(process.cmdline())
            what = next((name for pattern, name in SERVERS.items() if pattern in command_line), None)
            if what is None:
                continue
            listening = [one.laddr for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            exposed += [f"{what} on {at.ip}:{at.port}" for at in listening if not ip_address(at.ip).is_loopback]
        except (psutil.Error, ValueError):
            continue  # another user's process, or it has ended
    if not exposed:
        return Finding("open ports", "ok", "no server of attn can be reached from other machines")
    fix = "listen on 127.0.0.1 and use SSH, or protect it by a firewall and a login"
    return Finding("open ports", "warn", "; ".join(sorted(set(exposed))), fix)


def sends_password_unencrypted(uri: str, environment: Mapping[str, str]) -> bool:
    """Return whether a password would be sent to a tracking server unencrypted."""
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    if parts.scheme != "http" or {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}.isdisjoint(environment):
        return False
    return not is_loopback(parts.hostname or "")
